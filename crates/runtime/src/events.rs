//! Records of the ring buffer → what they ask for.
//!
//! Formats are parsed once, before the first event. An event whose arguments are integers and
//! strings, which is most of them, is printed straight from the ring's memory.

use object::plan::{Action, Arg, Event, Layout};
use view::{Format, FormatError, Value};

use crate::decode::{self, Resolve, decode, u32_at};

/// Bytes before the fixed part of a record: the event's number and a word of zero.
const HEADER_BYTES: usize = 8;

/// The events of a plan, ready to be decoded.
pub struct Events<'p> {
    events: Vec<Prepared<'p>>,
}

/// One kind of event.
pub struct Prepared<'p> {
    pub event: &'p Event,
    /// Of the actions that have one.
    pub format: Option<Format>,
    /// All arguments are integers and strings.
    plain: bool,
}

impl<'p> Events<'p> {
    /// Parses the formats.
    pub fn new(events: &'p [Event]) -> Result<Events<'p>, FormatError> {
        let prepare = |event: &'p Event| {
            let format = match &event.action {
                Action::Printf { format }
                | Action::System { format }
                | Action::Cat { format }
                | Action::Message { format, .. } => Some(Format::parse(format)?),
                _ => None,
            };
            let plain = event.args.iter().all(|arg| matches!(arg.layout, Layout::Int { .. } | Layout::Str { .. }));
            Ok(Prepared { event, format, plain })
        };
        Ok(Events { events: events.iter().map(prepare).collect::<Result<_, _>>()? })
    }

    /// The kind of event that a record is of; `None` if it is no record of ours.
    pub fn of(&self, record: &[u8]) -> Option<&Prepared<'p>> {
        if record.len() < HEADER_BYTES {
            return None;
        }
        self.events.get(u32_at(record, 0) as usize)
    }
}

impl<'p> Prepared<'p> {
    /// The arguments in a record, as bytes.
    pub fn fields<'r>(&self, record: &'r [u8]) -> Fields<'r, 'p> {
        let tail = HEADER_BYTES.saturating_add(self.event.fixed_size as usize);
        Fields { record, args: self.event.args.iter(), tail }
    }

    /// The arguments in a record, decoded.
    pub fn values(&self, record: &[u8], names: &mut dyn Resolve) -> Vec<Value> {
        self.fields(record).map(|field| decode(field.layout, field.bytes, field.whole, names)).collect()
    }

    /// Appends the event's formatted text to `out`; nothing if it has no format.
    pub fn format(&self, record: &[u8], names: &mut dyn Resolve, out: &mut Vec<u8>) {
        let Some(format) = &self.format else { return };
        if self.plain {
            let mut fields = self.fields(record);
            format.render_with(out, || fields.next().map(plain_argument));
        } else {
            let values = self.values(record, names);
            let mut values = values.iter();
            format.render_with(out, || values.next().map(view::Arg::Value));
        }
    }
}

/// An integer or a string without a copy.
fn plain_argument<'r>(field: Field<'r, '_>) -> view::Arg<'r> {
    match field.layout {
        Layout::Int { size, signed: true } => view::Arg::Int(decode::signed_int(field.bytes, *size)),
        Layout::Int { size, signed: false } => view::Arg::Uint(decode::unsigned(field.bytes, *size)),
        layout => {
            let size = if let Layout::Str { size } = layout { *size } else { 0 };
            let (bytes, truncated) = decode::string(field.bytes, size, field.whole);
            view::Arg::Str { bytes, truncated }
        }
    }
}

/// An argument's bytes.
pub struct Field<'r, 'p> {
    pub layout: &'p Layout,
    /// May be shorter than the layout asks for, if the record is.
    pub bytes: &'r [u8],
    /// They are all that there is of the argument (it came in the tail).
    pub whole: bool,
}

/// Iterator over the arguments in a record.
pub struct Fields<'r, 'p> {
    record: &'r [u8],
    args: std::slice::Iter<'p, Arg>,
    /// Where the next argument of the tail starts.
    tail: usize,
}

impl<'r, 'p> Iterator for Fields<'r, 'p> {
    type Item = Field<'r, 'p>;

    fn next(&mut self) -> Option<Field<'r, 'p>> {
        let arg = self.args.next()?;
        let at = HEADER_BYTES.saturating_add(arg.offset as usize);
        let (start, size) = if arg.tail {
            let size = u32_at(self.record, at) as usize;
            let start = self.tail;
            self.tail = start.saturating_add(size);
            (start, size)
        } else {
            (at, decode::size_of(&arg.layout))
        };
        let rest = self.record.get(start..).unwrap_or_default();
        let bytes = &rest[..size.min(rest.len())];
        Some(Field { layout: &arg.layout, bytes, whole: arg.tail })
    }
}
