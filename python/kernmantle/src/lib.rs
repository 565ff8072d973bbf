//! What does a Python program call to use a ring? `kernmantle/__init__.py` says it for Python.
//!
//! Invariants: whatever may wait does so without the interpreter's lock; a ring used by two threads
//! at once is refused, not corrupted.
#![cfg(target_os = "linux")]

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use kern_shm::{Client, Error};
use pyo3::exceptions::{PyConnectionError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

fn raised(error: Error) -> PyErr {
    match error {
        Error::TimedOut => PyTimeoutError::new_err(error.to_string()),
        Error::Gone => pyo3::exceptions::PyEOFError::new_err(error.to_string()),
        Error::Fault(_) => PyConnectionError::new_err(error.to_string()),
        Error::Io(error) => PyErr::from(error),
    }
}

/// One end of a ring.
#[pyclass(module = "kernmantle")]
struct Ring {
    /// `None` once closed.
    client: Mutex<Option<Client>>,
    /// Its socket, to be shut whoever uses the ring.
    socket: UnixStream,
}

impl Ring {
    fn new(client: Result<Client, Error>) -> PyResult<Self> {
        let client = client.map_err(raised)?;
        let socket = UnixStream::from(client.as_fd().try_clone_to_owned()?);
        Ok(Self { client: Mutex::new(Some(client)), socket })
    }

    /// Works on the ring with the interpreter's lock held: for what never waits.
    fn now<T>(&self, act: impl FnOnce(&mut Client) -> Result<T, Error>) -> PyResult<T> {
        let Ok(mut client) = self.client.try_lock() else {
            return Err(PyValueError::new_err("the ring is used by another thread now"));
        };
        match client.as_mut() {
            Some(client) => act(client).map_err(raised),
            None => Err(PyValueError::new_err("the ring is closed")),
        }
    }

    /// Works on the ring without the interpreter's lock: for what may wait.
    fn waiting<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Client) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        py.detach(|| self.now(act))
    }
}

#[pymethods]
impl Ring {
    /// Connects to `kern serve --ring PATH`.
    #[staticmethod]
    fn connect(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Self::new(Client::connect(path)))
    }

    /// Takes the ring of a server that was started with `ring = true`. Call it once.
    #[staticmethod]
    fn from_env(py: Python<'_>) -> PyResult<Self> {
        py.detach(|| Self::new(Client::from_env()))
    }

    /// Sends one message; waits while the ring is full.
    fn send(&self, py: Python<'_>, message: &[u8]) -> PyResult<()> {
        self.waiting(py, |client| client.send(message))
    }

    /// Like `send`, but the other side is told by `flush` or the next wait: one wake for several.
    fn push(&self, py: Python<'_>, message: &[u8]) -> PyResult<()> {
        self.waiting(py, |client| client.push(message))
    }

    /// Tells the other side of everything pushed.
    fn flush(&self) -> PyResult<()> {
        self.now(|client| {
            client.flush();
            Ok(())
        })
    }

    /// Puts as much of a message into the ring as there is room for, and says how many bytes that
    /// was. The rest must be the next thing sent.
    fn try_send(&self, message: &[u8]) -> PyResult<usize> {
        self.now(|client| {
            let put = client.try_push(message)?;
            client.flush();
            Ok(put)
        })
    }

    /// The next message; waits `timeout` seconds at most, for ever if it is None.
    #[pyo3(signature = (timeout=None))]
    fn recv<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyBytes>> {
        let timeout = timeout
            .map(|seconds| {
                Duration::try_from_secs_f64(seconds)
                    .map_err(|_| PyValueError::new_err("timeout is no duration"))
            })
            .transpose()?;
        let message = self.waiting(py, |client| client.recv(timeout))?;
        Ok(PyBytes::new(py, &message))
    }

    /// The next message if it is there, else None.
    fn try_recv<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(self.now(Client::try_recv)?.map(|message| PyBytes::new(py, &message)))
    }

    /// True: nothing is there, and `fileno()` becomes readable when that changes. False: receive.
    fn arm(&self) -> PyResult<bool> {
        self.now(Client::arm)
    }

    /// A descriptor to wait on for reading; see `arm`.
    fn fileno(&self) -> PyResult<i32> {
        self.now(|client| Ok(client.as_fd().as_raw_fd()))
    }

    /// Says that no more will be sent. Receiving goes on.
    fn finish(&self) -> PyResult<()> {
        self.now(|client| {
            client.finish();
            Ok(())
        })
    }

    /// Ends the conversation for the other side, and the waits of other threads with it: they
    /// raise `EOFError`. For any thread, any time.
    fn shut(&self) {
        // Fails where the other side has ended it already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends the conversation.
    fn close(&self) -> PyResult<()> {
        let Ok(mut client) = self.client.try_lock() else {
            return Err(PyOSError::new_err("the ring is used by another thread now"));
        };
        drop(client.take());
        self.shut();
        Ok(())
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.close()
    }
}

#[pymodule]
fn _ring(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Ring>()
}
