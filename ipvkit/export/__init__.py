"""From a Plan to what others read: preview, script, playbook."""
