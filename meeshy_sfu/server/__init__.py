"""The media server: REST and Socket.IO over rooms. Knows nothing of RTP; see rooms/ and media/."""
