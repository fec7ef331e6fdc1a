//! Commands of the control side to a thread of bots.

use crate::config::{ConnectParameters, ConsumeRequest, Direction, Kind, LinkProfile};
use crate::negotiation::Media;
use crate::peer::Peer;

/// Something a thread shall do to one of its bots.
#[derive(Debug)]
pub(crate) enum Command {
    Adopt(Box<Peer>),
    Connect(u16, Direction, Box<ConnectParameters>),
    Start(u16, Media),
    StopSending(u16, Kind),
    Hush(u16, bool),
    Consume(u16, Vec<ConsumeRequest>),
    Unconsume(u16, Vec<u32>),
    Impair(u16, LinkProfile, LinkProfile),
    Prefer(u16),
    Close(u16),
    Stop,
}
