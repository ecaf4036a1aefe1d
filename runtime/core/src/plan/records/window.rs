//! The window that convolutions and pooling slide over their input.

crate::record! {
    /// A window sliding over a batch of channels-last images.
    Window {
        /// Images.
        batch: u32,
        /// Input rows.
        in_h: u32,
        /// Input columns.
        in_w: u32,
        /// Input channels.
        in_c: u32,
        /// Output rows.
        out_h: u32,
        /// Output columns.
        out_w: u32,
        /// Output channels.
        out_c: u32,
        /// Window rows.
        kernel_h: u32,
        /// Window columns.
        kernel_w: u32,
        /// Rows from one window to the next.
        stride_h: u32,
        /// Columns from one window to the next.
        stride_w: u32,
        /// Rows between neighbouring taps.
        dilation_h: u32,
        /// Columns between neighbouring taps.
        dilation_w: u32,
        /// Rows of padding above.
        pad_top: u32,
        /// Columns of padding to the left.
        pad_left: u32,
        /// Channel groups.
        groups: u32,
    }
}

impl Window {
    /// Taps of the window.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.kernel_h as usize * self.kernel_w as usize
    }

    /// Input channels of one group.
    #[must_use]
    pub fn group_in(&self) -> usize {
        (self.in_c / self.groups.max(1)) as usize
    }

    /// Output channels of one group.
    #[must_use]
    pub fn group_out(&self) -> usize {
        (self.out_c / self.groups.max(1)) as usize
    }

    /// Output positions of all images.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.batch as usize * self.out_h as usize * self.out_w as usize
    }

    /// Whether each output position reads just the input position of the same number.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1
            && self.stride_h == 1
            && self.stride_w == 1
            && self.pad_top == 0
            && self.pad_left == 0
            && self.in_h == self.out_h
            && self.in_w == self.out_w
    }

    /// Whether no output position sees padding.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        let reach = |out: u32, stride: u32, kernel: u32, dilation: u32| (out - 1) * stride + (kernel - 1) * dilation;
        self.pad_top == 0
            && self.pad_left == 0
            && reach(self.out_h, self.stride_h, self.kernel_h, self.dilation_h) < self.in_h
            && reach(self.out_w, self.stride_w, self.kernel_w, self.dilation_w) < self.in_w
    }

    /// A pointwise window with all positions of all images in one line.
    #[must_use]
    pub(crate) fn as_one_line(&self) -> Self {
        let positions = self.batch * self.in_h * self.in_w;
        Self { batch: 1, in_h: 1, in_w: positions, out_h: 1, out_w: positions, ..*self }
    }
}
