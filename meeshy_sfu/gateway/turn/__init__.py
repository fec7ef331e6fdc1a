"""STUN and TURN servers: credentials for clients, and a probe that tries them."""
