//! UDP and TCP sockets with batching and segmentation offload; the only crate with unsafe code.
#![allow(unsafe_code)]
