//! linerate-poll
