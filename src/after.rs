//! What follows a start: the process's own program, or another one.

use crate::error::Errno;

/// What follows in the daemon when the sequence is done. A type, so that who never executes a program links nothing that
/// waits for one.
pub(crate) trait After {
    /// Whether the daemon becomes another program.
    const EXECUTES: bool;
    /// Whether the daemon is ready already.
    fn is_ready(&self) -> bool;
    /// Becomes that program; returns only the errno of its failure.
    fn execute(&self) -> Errno;
}

/// Its program goes on: ready already, or it will say when it is.
pub(crate) struct Return {
    pub(crate) is_ready: bool,
}

/// It becomes another program, by this function.
pub(crate) struct Execute<'a>(pub(crate) &'a dyn Fn() -> Errno);

impl After for Return {
    const EXECUTES: bool = false;
    fn is_ready(&self) -> bool {
        self.is_ready
    }
    fn execute(&self) -> Errno {
        Errno::EINVAL
    }
}

impl After for Execute<'_> {
    const EXECUTES: bool = true;
    fn is_ready(&self) -> bool {
        false
    }
    fn execute(&self) -> Errno {
        (self.0)()
    }
}
