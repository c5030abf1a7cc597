"""`gateway up`: every server and process of an installation on one machine, supervised."""
