//! Places that are given again.

/// Values with a number each, which is given again when its value is gone.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let Some(at) = self.free.pop() else {
            self.places.push(Some(value));
            return (self.places.len() - 1) as u32;
        };
        if let Some(place) = self.places.get_mut(at as usize) {
            *place = Some(value);
        }
        at
    }

    /// The number that the next value gets.
    #[cfg(feature = "detached")]
    pub(crate) fn vacant(&self) -> u32 {
        let free = self.free.last().copied();
        free.unwrap_or(self.places.len() as u32)
    }

    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let value = self.places.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(value)
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// The places, taken or free.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}
