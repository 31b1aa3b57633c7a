//! The largest of the current and of the last window.

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxOfTwo([f64; 2]);

impl MaxOfTwo {
    pub fn get(&self) -> f64 {
        self.0[0].max(self.0[1])
    }

    pub fn update(&mut self, v: f64) {
        self.0[1] = self.0[1].max(v);
    }

    /// The next window begins. An empty one is none.
    pub fn advance(&mut self) {
        if self.0[1] > 0.0 {
            self.0 = [self.0[1], 0.0];
        }
    }
}
