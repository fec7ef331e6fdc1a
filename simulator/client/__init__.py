"""The client side of our wire: gateway, media server, session descriptions, and a participant that uses them."""
