"""Kinds of bots: native ones carry load, aiortc ones are a second protocol stack that decodes what it receives."""
