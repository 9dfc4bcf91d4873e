//! Things at a line that a person may want to look at, bounded in number.

use std::collections::HashMap;

/// Notes given for each symbol and kind in an engine's life; the rest is only counted.
const MAX_NOTES: u32 = 1_000;

/// `Note` of the port.
#[derive(Clone, Debug)]
pub struct Note {
    pub kind: &'static str,
    pub line: i64,
    pub offset: i64,
    /// -1: unknown.
    pub symbol: i32,
    pub detail: String,
    pub expected: Option<i64>,
    pub computed: Option<i64>,
}

impl Note {
    pub fn new(kind: &'static str, line: i64, offset: i64) -> Self {
        Self { kind, line, offset, symbol: -1, detail: String::new(), expected: None, computed: None }
    }
}

#[derive(Default)]
pub struct Notes {
    given: HashMap<(i32, &'static str), u32>,
    notes: Vec<Note>,
}

impl Notes {
    pub fn add(&mut self, symbol: i32, note: Note) {
        let given = self.given.entry((symbol, note.kind)).or_default();
        if *given < MAX_NOTES {
            *given += 1;
            self.notes.push(Note { symbol, ..note });
        }
    }

    pub fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}
