//! How many functions run at a time: all of them together, and each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{Failure, throttled};

/// The part of all places that the asynchronous invocations of one function may take, so that slow ones leave room for
/// those of others.
const ASYNC_SHARE: usize = 4;

/// The places that there are. Clones share them.
#[derive(Clone)]
pub(super) struct Slots(Arc<Inner>);

struct Inner {
    total_max: usize,
    taken: Mutex<HashMap<String, usize>>,
    /// Called when a place becomes free.
    freed: Box<dyn Fn() + Send + Sync>,
}

/// A place that is taken, until this is dropped.
pub(super) struct Slot {
    slots: Slots,
    function_arn: String,
}

impl Slots {
    pub(super) fn new(total_max: usize, freed: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { total_max, taken: Mutex::default(), freed: Box::new(freed) }))
    }

    pub(super) fn total_max(&self) -> usize {
        self.0.total_max
    }

    pub(super) fn in_use(&self) -> usize {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// A place for a caller who waits.
    pub(super) fn take(&self, function_arn: &str, reserved: Option<u32>) -> Result<Slot, Failure> {
        self.take_below(function_arn, reserved.map_or(self.0.total_max, |reserved| reserved as usize))
            .map_err(|is_functions| {
                throttled(if is_functions && reserved.is_some() {
                    "ReservedFunctionConcurrentInvocationLimitExceeded"
                } else {
                    "ConcurrentInvocationLimitExceeded"
                })
            })
    }

    /// A place for an invocation that can wait; none where there is none.
    pub(super) fn take_async(&self, function_arn: &str, reserved: Option<u32>) -> Option<Slot> {
        let share = (self.0.total_max / ASYNC_SHARE).max(1);
        self.take_below(function_arn, reserved.map_or(share, |reserved| reserved as usize)).ok()
    }

    /// A place where the function has less than `most`. The error says whether it has not.
    fn take_below(&self, function_arn: &str, most: usize) -> Result<Slot, bool> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_function = taken.get(function_arn).copied().unwrap_or(0);
        if of_function >= most {
            return Err(true);
        }
        if taken.values().sum::<usize>() >= self.0.total_max {
            return Err(false);
        }
        taken.insert(function_arn.to_owned(), of_function + 1);
        Ok(Slot { slots: self.clone(), function_arn: function_arn.to_owned() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut taken = self.slots.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = taken.get_mut(&self.function_arn) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(&self.function_arn);
                }
            }
        }
        (self.slots.0.freed)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn places_are_given_up_to_the_limits_and_taken_back() {
        let freed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&freed);
        let slots = Slots::new(8, move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let both: Vec<Slot> = (0..2).map(|_| slots.take_async("a", None).unwrap()).collect();
        assert!(slots.take_async("a", None).is_none(), "a quarter of all is one function's");
        assert!(slots.take("b", Some(0)).is_err(), "nothing is reserved");
        let all: Vec<Slot> = (0..6).map(|_| slots.take("a", None).unwrap_or_else(|_| panic!())).collect();
        assert!(slots.take("b", None).is_err(), "all places are taken");
        drop((both, all));
        assert_eq!((freed.load(Ordering::SeqCst), slots.in_use()), (8, 0));
        assert!(slots.take("b", Some(1)).is_ok());
    }
}
