"""The web client on the gateway's port: its files, the headers of its pages, and the handlers that answer with them."""
