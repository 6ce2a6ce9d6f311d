"""What a subcommand does beyond one run of a lab: announce, explain, matrix, measure-arp, shell."""
