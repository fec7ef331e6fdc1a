"""Load-test bots that talk to servers over the wire only."""
