//! Tables of text and numbers for people.

/// Which side of a column is straight.
#[derive(Clone, Copy, PartialEq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under a head.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines.
    pub fn text(&self) -> String {
        let width = |(place, (head, _)): (usize, &(&str, Align))| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head.chars().count())
        };
        let widths: Vec<_> = self.columns.iter().enumerate().map(width).collect();
        let head: Vec<_> = self.columns.iter().map(|(head, _)| head.to_string()).collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, (_, align)), width) in row.iter().zip(&self.columns).zip(&widths) {
                let blanks = " ".repeat(width - cell.chars().count());
                let (before, behind) = if *align == Align::Left { ("", &*blanks) } else { (&*blanks, "") };
                line += &format!("{before}{cell}{behind}  ");
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A shape as people write it: `1×3×224×224`.
pub fn shape(dims: &[u32]) -> String {
    match dims {
        [] => "scalar".into(),
        dims => dims.iter().map(u32::to_string).collect::<Vec<_>>().join("×"),
    }
}

/// A whole number with blanks between the thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_straight() {
        let mut table = Table::new(&[("name", Align::Left), ("ms", Align::Right)]);
        table.row(["é".into(), "10.5".into()]);
        table.row(["conv".into(), "1.5".into()]);
        assert_eq!(table.text(), "name    ms\né     10.5\nconv   1.5\n");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
