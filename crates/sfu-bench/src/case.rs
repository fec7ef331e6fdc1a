//! What is measured: who sends to whom, with what, and what receivers do.

use meeshy_sfu_proto::srtp::SrtpProfile;

/// CPUs of the measured thread and of the clients.
pub(crate) const CPUS: [usize; 2] = [0, 1];

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Each to all others, or the first to all others.
    pub(crate) mesh: bool,
    pub(crate) profile: SrtpProfile,
    pub(crate) gso: bool,
    pub(crate) sizes: Sizes,
    pub(crate) receivers: Receivers,
}

/// How large the packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// All of one kind the same, so that trains are as long as they can be.
    Even,
    /// As real calls have them: sound by what is said, each picture by what moves.
    Varied,
    /// The same, and the worker's padding brings them together.
    Padded,
}

impl Sizes {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sizes::Even => "even",
            Sizes::Varied => "varied",
            Sizes::Padded => "varied, padded",
        }
    }
}

/// What the kernel does with a train before a client's socket gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receivers {
    /// The socket takes it whole (UDP_GRO): on loopback it is never cut into datagrams.
    Trains,
    /// The socket takes datagrams, as those of browsers do: the sender's kernel cuts, and is charged for it.
    Ordinary,
}

impl Receivers {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Receivers::Trains => "trains",
            Receivers::Ordinary => "ordinary",
        }
    }
}

impl Case {
    /// All of them, the ones with targets first.
    pub(crate) fn all() -> Vec<Case> {
        let gcm = SrtpProfile::AeadAes128Gcm;
        let sha1 = SrtpProfile::Aes128CmSha1_80;
        let mut cases = Vec::new();
        for mesh in [true, false] {
            for gso in [true, false] {
                for profile in [gcm, sha1] {
                    cases.push(Case {
                        mesh,
                        profile,
                        gso,
                        sizes: Sizes::Even,
                        receivers: Receivers::Trains,
                    });
                }
            }
        }
        let others = [
            (Sizes::Even, Receivers::Ordinary),
            (Sizes::Varied, Receivers::Trains),
            (Sizes::Varied, Receivers::Ordinary),
            (Sizes::Padded, Receivers::Ordinary),
        ];
        for (position, (sizes, receivers)) in others.into_iter().enumerate() {
            let case = Case {
                sizes,
                receivers,
                ..cases[0]
            };
            cases.insert(1 + position, case);
        }
        cases
    }

    pub(crate) fn name(&self) -> String {
        format!(
            "{} {}{}{}{}",
            if self.mesh { "mesh-50" } else { "1-to-50" },
            if self.profile == SrtpProfile::Aes128CmSha1_80 {
                "SHA1"
            } else {
                "GCM"
            },
            if self.gso { "" } else { " no-GSO" },
            match self.sizes {
                Sizes::Even => "",
                Sizes::Varied => " varied",
                Sizes::Padded => " varied+padding",
            },
            match self.receivers {
                Receivers::Trains => "",
                Receivers::Ordinary => " ordinary",
            },
        )
    }
}
