//! Where the elements of a tensor lie: reshapes and transposes that cost nothing.
//!
//! A [`Layout`] cuts the logical axes of a tensor into *atoms* and says in which order the atoms lie
//! in memory. A transpose moves axes, a reshape regroups atoms; neither touches memory. Only a step
//! that needs a certain order has the elements copied. Axes of one element have no atom.

/// The place of every element of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Extents, as ONNX sees them.
    pub shape: Vec<usize>,
    /// The atoms of each axis, the outermost first.
    axes: Vec<Vec<Atom>>,
}

/// A factor of an axis: its extent and its place in memory order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Atom {
    extent: usize,
    place: usize,
}

impl Layout {
    /// Row-major.
    pub fn row_major(shape: &[usize]) -> Self {
        let order: Vec<usize> = (0..shape.len()).collect();
        Self::ordered(shape, &order)
    }

    /// Axes in memory order `order`, the last one contiguous.
    pub fn ordered(shape: &[usize], order: &[usize]) -> Self {
        let mut axes = vec![Vec::new(); shape.len()];
        let mut place = 0;
        for &axis in order {
            if shape[axis] != 1 {
                axes[axis] = vec![Atom { extent: shape[axis], place }];
                place += 1;
            }
        }
        Self { shape: shape.to_vec(), axes }
    }

    /// The order of axes that images and sequences have in memory: channels, axis 1, last.
    pub fn channels_last_order(rank: usize) -> Vec<usize> {
        if rank < 3 {
            return (0..rank).collect();
        }
        std::iter::once(0).chain(2..rank).chain(std::iter::once(1)).collect()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The atoms of all axes in logical order.
    fn atoms(&self) -> impl Iterator<Item = Atom> + '_ {
        self.axes.iter().flatten().copied()
    }

    /// Extents in memory order.
    pub fn memory_extents(&self) -> Vec<usize> {
        let mut extents = vec![1; self.atoms().count()];
        self.atoms().for_each(|atom| extents[atom.place] = atom.extent);
        extents
    }

    /// Elements from one index of an atom to the next, by place.
    fn place_strides(&self) -> Vec<usize> {
        let extents = self.memory_extents();
        let mut strides = vec![1; extents.len()];
        for place in (1..extents.len()).rev() {
            strides[place - 1] = strides[place] * extents[place];
        }
        strides
    }

    /// Extent and stride of every atom of an axis, the outermost first.
    pub fn axis_strides(&self, axis: usize) -> Vec<(usize, usize)> {
        let strides = self.place_strides();
        self.axes[axis].iter().map(|atom| (atom.extent, strides[atom.place])).collect()
    }

    /// Joins neighbouring atoms of an axis that are neighbours in memory too, and numbers places anew.
    fn tidy(mut self) -> Self {
        for axis in &mut self.axes {
            let mut joined: Vec<(Atom, usize)> = Vec::new();
            for &atom in axis.iter() {
                match joined.last_mut() {
                    Some((last, end)) if *end + 1 == atom.place => {
                        last.extent *= atom.extent;
                        *end = atom.place;
                    }
                    _ => joined.push((atom, atom.place)),
                }
            }
            *axis = joined.into_iter().map(|(atom, _)| atom).collect();
        }
        let mut places: Vec<usize> = self.atoms().map(|atom| atom.place).collect();
        places.sort_unstable();
        for atom in self.axes.iter_mut().flatten() {
            atom.place = places.binary_search(&atom.place).unwrap_or(0);
        }
        self
    }

    /// Output axis `i` is input axis `permutation[i]`.
    pub fn transposed(&self, permutation: &[usize]) -> Self {
        let shape = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let axes = permutation.iter().map(|&axis| self.axes[axis].clone()).collect();
        Self { shape, axes }
    }

    /// The same elements under another shape, or `None` where an atom would have to be cut unevenly.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        // Atoms are numbered by fractions of places: a cut atom takes its own place and the ones behind.
        let mut source: Vec<(usize, Vec<usize>)> = self.atoms().map(|atom| (atom.extent, vec![atom.place])).collect();
        source.reverse();
        let mut axes: Vec<Vec<(usize, Vec<usize>)>> = Vec::new();
        for &extent in shape {
            let mut axis = Vec::new();
            let mut left = extent;
            while left > 1 {
                let (atom, place) = source.pop()?;
                if left % atom == 0 {
                    left /= atom;
                    axis.push((atom, place));
                } else if atom % left == 0 {
                    let mut inner = place.clone();
                    inner.push(1);
                    let mut outer = place;
                    outer.push(0);
                    source.push((atom / left, inner));
                    axis.push((left, outer));
                    left = 1;
                } else {
                    return None;
                }
            }
            axes.push(axis);
        }
        if !source.is_empty() {
            return None;
        }
        let mut places: Vec<&Vec<usize>> = axes.iter().flatten().map(|(_, place)| place).collect();
        places.sort();
        let rank = |place: &Vec<usize>| places.binary_search(&place).unwrap_or(0);
        let axes = axes
            .iter()
            .map(|axis| axis.iter().map(|(extent, place)| Atom { extent: *extent, place: rank(place) }).collect())
            .collect();
        Some(Self { shape: shape.to_vec(), axes }.tidy())
    }

    /// The order of axes in memory where each axis is one run; axes of one element stand where they
    /// stand in `order_hint`, else first.
    pub fn memory_order(&self) -> Option<Vec<usize>> {
        if self.axes.iter().any(|axis| axis.len() > 1) {
            return None;
        }
        let rank = self.shape.len();
        for candidate in [(0..rank).collect::<Vec<_>>(), Self::channels_last_order(rank)] {
            if Self::ordered(&self.shape, &candidate).axes == self.axes {
                return Some(candidate);
            }
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.sort_by_key(|&axis| self.axes[axis].first().map_or(0, |atom| atom.place + 1));
        Some(order)
    }

    /// Whether memory holds the axes in this order, each in one run.
    pub fn is_ordered(&self, order: &[usize]) -> bool {
        Self::ordered(&self.shape, order).axes == self.axes
    }

    /// The same elements with axes of one element in front.
    pub fn with_rank(&self, rank: usize) -> Self {
        let missing = rank - self.shape.len();
        let mut shape = vec![1; missing];
        shape.extend_from_slice(&self.shape);
        let mut axes = vec![Vec::new(); missing];
        axes.extend(self.axes.iter().cloned());
        Self { shape, axes }
    }

    /// Whether the axes in front of `axis` lie in their order.
    pub fn outer_is_row_major(&self, axis: usize) -> bool {
        let places: Vec<usize> = self.axes[..axis].iter().flatten().map(|atom| atom.place).collect();
        places.is_sorted()
    }

    /// For each place in memory of the axis alone, the logical index along it: how weights must be
    /// permuted to meet the elements as they lie. `None` unless all atoms of the axis are innermost.
    pub fn innermost_index(&self, axis: usize) -> Option<Vec<usize>> {
        let atoms = &self.axes[axis];
        let outer = self.atoms().count() - atoms.len();
        if atoms.iter().any(|atom| atom.place < outer) {
            return None;
        }
        let mut weight = 1;
        let mut parts: Vec<(usize, usize, usize)> = Vec::new();
        for atom in atoms.iter().rev() {
            parts.push((atom.place, atom.extent, weight));
            weight *= atom.extent;
        }
        parts.sort_unstable();
        let mut index = vec![0];
        for (_, extent, weight) in parts {
            index = index.iter().flat_map(|&base| (0..extent).map(move |i| base + i * weight)).collect();
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flatten_behind_channels_last_permutes_the_axis() {
        // NCHW [1, 2, 1, 3] in memory as NHWC: places hold (w0 c0), (w0 c1), (w1 c0), …
        let image = Layout::ordered(&[1, 2, 1, 3], &[0, 2, 3, 1]);
        let flat = image.reshaped(&[1, 6]).expect("regroups");
        assert_eq!(flat.innermost_index(1), Some(vec![0, 3, 1, 4, 2, 5]));
        assert!(!flat.is_ordered(&[0, 1]));
    }

    #[test]
    fn transpose_and_back_is_free() {
        let layout = Layout::row_major(&[1, 4, 5, 6]);
        let back = layout.transposed(&[0, 3, 1, 2]).transposed(&[0, 2, 3, 1]);
        assert_eq!(back, layout);
        assert!(layout.transposed(&[0, 3, 1, 2]).is_ordered(&[0, 2, 3, 1]));
    }

    #[test]
    fn channel_shuffle_and_its_inverse() {
        let layout = Layout::ordered(&[1, 6, 2, 2], &[0, 2, 3, 1]);
        let shuffled = layout.reshaped(&[1, 2, 3, 2, 2]).map(|l| l.transposed(&[0, 2, 1, 3, 4]));
        let shuffled = shuffled.and_then(|l| l.reshaped(&[1, 6, 2, 2])).expect("regroups");
        assert_eq!(shuffled.memory_order(), None);
        let back = shuffled.reshaped(&[1, 3, 2, 2, 2]).map(|l| l.transposed(&[0, 2, 1, 3, 4]));
        assert_eq!(back.and_then(|l| l.reshaped(&[1, 6, 2, 2])), Some(layout));
    }

    #[test]
    fn uneven_cuts_are_refused() {
        assert_eq!(Layout::ordered(&[4, 6], &[1, 0]).reshaped(&[6, 4]), None);
        assert_eq!(Layout::row_major(&[4, 6]).reshaped(&[24]).map(|l| l.memory_extents()), Some(vec![24]));
    }
}
