"""What a subcommand does besides running a lab: announce, explain, matrix, measure-arp, shell."""
