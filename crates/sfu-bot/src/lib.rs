//! Many light load-test participants in one thread.
