"""The wire of the gateway: REST, Socket.IO events, their shapes, and who may use them."""
