//! A worker: one pinned thread that owns sockets and routers.
