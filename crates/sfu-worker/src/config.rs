//! How a worker is set up, and why it may not start.

use std::io;
use std::net::IpAddr;

use meeshy_sfu_io::BindError;

/// Settings of one worker; fixed once it started.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Names it in events and gives its thread a name.
    pub index: u32,
    /// Addresses to bind, at most one of each family. `0.0.0.0` and `::` listen on all interfaces and offer
    /// the addresses of those that are up. On hosts with several addresses of a family name the one to
    /// use: answers leave by the address that routing picks.
    pub listen: Vec<IpAddr>,
    /// IP address or host name offered to clients instead of the bound one, behind NAT. An IP address
    /// replaces those of its family, a host name the first one. Default none.
    pub announced: Option<String>,
    /// UDP and TCP port of everything; 0 takes a free one.
    pub port: u16,
    /// X.509 certificate (DER) of the DTLS identity, ECDSA P-256.
    pub certificate: Vec<u8>,
    /// Its private key (PKCS #8 DER).
    pub private_key: Vec<u8>,
    /// CPU to stay on. Default none: the scheduler moves the thread.
    pub pin_cpu: Option<usize>,
    /// Accept [`crate::Command::Panic`]. For development and tests only. Default false.
    pub allow_panic: bool,
    /// Accept [`crate::Command::InjectFaults`]. For development and tests only. Default false.
    pub allow_faults: bool,
    /// Longest wait of a packet under load for others to the same destination, in microseconds. Default 2000: saves a third of
    /// the CPU and adds 1.5 ms. 0 sends at once.
    pub window_max_us: u32,
    /// Use segmentation offload where the kernel has it. Default true; off only to measure.
    pub gso: bool,
    /// Most TCP connections at once, each a descriptor of the process. Default 4096.
    pub max_connections: u16,
}

impl WorkerConfig {
    /// Defaults with this identity, on the loopback address and a free port.
    pub fn new(certificate: Vec<u8>, private_key: Vec<u8>) -> WorkerConfig {
        WorkerConfig {
            index: 0,
            listen: vec![IpAddr::from([127, 0, 0, 1])],
            announced: None,
            port: 0,
            certificate,
            private_key,
            pin_cpu: None,
            allow_panic: false,
            allow_faults: false,
            window_max_us: 2000,
            gso: true,
            max_connections: 4096,
        }
    }
}

/// Why a worker did not start; nothing of it is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be bound.
    Bind(BindError),
    /// `listen` is empty or has two addresses of one family.
    Listen(String),
    /// Certificate and key are not a usable pair.
    Certificate(String),
    /// `pin_cpu` names no CPU this process may use.
    Cpu {
        /// The CPU asked for.
        cpu: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// Any other failure of the system.
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::Listen(problem) => f.write_str(problem),
            StartError::Certificate(problem) => write!(
                f,
                "certificate and key cannot be used: {problem}; DTLS needs an ECDSA P-256 certificate and its PKCS #8 key, both DER"
            ),
            StartError::Cpu { cpu, source } => write!(
                f,
                "pin_cpu {cpu} cannot be used: {source}; name a CPU that this process may run on, or none"
            ),
            StartError::System { what, source } => write!(
                f,
                "cannot {what}: {source}; check the limits of threads, memory and open files of this process"
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Bind(error) => Some(error),
            StartError::Cpu { source, .. } | StartError::System { source, .. } => Some(source),
            StartError::Listen(_) | StartError::Certificate(_) => None,
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> StartError {
        StartError::Bind(error)
    }
}

/// A closure for `map_err`: the system failed at `what`.
pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}
