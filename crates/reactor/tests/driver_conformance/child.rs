//! A child under a driver: how it is started, what it says, how it ends.

use kern_reactor::{ChildExit, Command};
use kern_terms::Key;

use crate::rig::Rig;

/// Keys of a child and of its two streams.
pub(crate) struct Child {
    pub(crate) child: Key,
    pub(crate) pipes: Key,
    pub(crate) errors: Key,
}

pub(crate) fn start(rig: &mut Rig, command: &Command) -> Child {
    let (child, pipes, errors) = (rig.key(), rig.key(), rig.key());
    let pid = rig.driver.spawn(child, pipes, errors, command).unwrap();
    assert_ne!(pid, 0);
    Child { child, pipes, errors }
}

#[track_caller]
pub(crate) fn exit(rig: &mut Rig, child: &Child) -> ChildExit {
    let key = child.child;
    rig.until("exited", |rig| rig.exits.contains_key(&key));
    rig.exits[&key]
}

#[track_caller]
pub(crate) fn output(rig: &mut Rig, stream: Key) -> String {
    rig.until("ended", |rig| rig.side(stream).ended.is_some());
    String::from_utf8(rig.side(stream).received.clone()).unwrap()
}
