//! What the caller gives a command to carry, and gets back with its end.
//! Unaware of what it is.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Something of the caller's. Nobody ever waits for the lock: it is there because threads can share a
/// [`Finished`](crate::Finished), and what it holds has to be `Sync`.
pub(crate) struct Data(Mutex<Box<dyn Any + Send>>);

impl Data {
    pub(crate) fn new(data: impl Any + Send) -> Data {
        Data(Mutex::new(Box::new(data)))
    }

    /// What was given, if it is one of these.
    ///
    /// # Errors
    /// Itself, if it has another type.
    pub(crate) fn take<T: Any>(self) -> Result<T, Data> {
        let data = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        match data.downcast() {
            Ok(data) => Ok(*data),
            Err(data) => Err(Data(Mutex::new(data))),
        }
    }
}

/// What a command carries.
#[derive(Debug, Default)]
pub(crate) enum Carried {
    #[default]
    Nothing,
    Data(Data),
    /// An earlier start took it.
    Consumed,
}

impl Carried {
    /// For one start.
    pub(crate) fn take(&mut self) -> Carried {
        match self {
            Carried::Nothing => Carried::Nothing,
            _ => std::mem::replace(self, Carried::Consumed),
        }
    }

    /// As a second start would find it.
    pub(crate) fn again(&self) -> Carried {
        match self {
            Carried::Nothing => Carried::Nothing,
            Carried::Data(_) | Carried::Consumed => Carried::Consumed,
        }
    }

    pub(crate) fn into_data(self) -> Option<Data> {
        match self {
            Carried::Data(data) => Some(data),
            Carried::Nothing | Carried::Consumed => None,
        }
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Data")
    }
}
