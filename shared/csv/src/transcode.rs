//! Converts decompressed bytes to UTF-8 text.
//!
//! A byte order mark decides; else what is valid UTF-8 is UTF-8; else zeros at every other byte tell UTF-16; else,
//! where sequences of valid UTF-8 outnumber the invalid ones, the file is damaged UTF-8; else the bytes' statistics decide
//! among the legacy encodings. UTF-8 passes through unchanged, including invalid bytes, so that the record that holds
//! them can be rejected with its bytes. What another encoding cannot decode becomes the byte `ff`, which is never UTF-8,
//! and so ends in the same reject.

use std::io::{self, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::code::CsvCode;
use crate::error::{Error, Result};

/// The encoding with a declared name.
pub(crate) fn named(name: &str) -> Result<&'static Encoding> {
    let label = name.trim();
    let label = if label.eq_ignore_ascii_case("utf-16") { "utf-16le" } else { label };
    match Encoding::for_label(label.as_bytes()) {
        Some(encoding) if encoding != encoding_rs::REPLACEMENT => Ok(encoding),
        _ => Err(Error::option(format!("encoding: {name:?} is not a known encoding"))),
    }
}

/// The first bytes of files of other formats.
const OTHER_FORMATS: [(&[u8], &str); 17] = [
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"PAR1", "a Parquet file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x7fELF", "a program"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\x04\x22\x4d\x18", "an lz4 archive"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x1f\x8b", "gzip inside a compressed file"),
    (b"\x28\xb5\x2f\xfd", "zstd inside a compressed file"),
];

/// Finds the encoding from the file's first bytes, or refuses a file that is not text: `not_text`.
pub(crate) fn detect(sample: &[u8], whole: bool, declared: Option<&str>) -> Result<&'static Encoding> {
    let not_text = |what: &str| {
        Err(Error::file(CsvCode::NotText, format!("read the object as text: it looks like {what}")))
    };
    if let Some((_, what)) = OTHER_FORMATS.iter().find(|(magic, _)| sample.starts_with(magic)) {
        return not_text(what);
    }
    // UTF-32 has no decoder; its little-endian mark begins like that of UTF-16.
    if sample.starts_with(&[0xff, 0xfe, 0, 0]) || sample.starts_with(&[0, 0, 0xfe, 0xff]) {
        return not_text("UTF-32, which is not supported");
    }
    if let Some(name) = declared {
        let encoding = named(name)?;
        // A mark at the start tells the byte order better than a declaration that leaves it open.
        return Ok(match Encoding::for_bom(sample) {
            Some((marked, _)) if name.trim().eq_ignore_ascii_case("utf-16") => marked,
            _ => encoding,
        });
    }
    if let Some((encoding, _)) = Encoding::for_bom(sample) {
        return Ok(encoding);
    }
    if let Some(encoding) = utf16_by_zeros(sample) {
        return Ok(encoding);
    }
    let (invalid, sequences) = survey(sample, whole);
    // 01 and 1e to 1f are left aside: they are delimiters and record ends.
    let control = sample.iter().filter(|b| matches!(b, 0 | 2..=8 | 0x0e..=0x19 | 0x7f)).count();
    // Random bytes: one in nine is a control character. Text with a few stray ones stays text.
    if control * 3 > sample.len() || (invalid > 0 && control * 40 > sample.len() && control > 2) {
        return not_text("binary data");
    }
    if invalid == 0 || sequences > 2 * invalid {
        return Ok(UTF_8);
    }
    // Two or three bytes that no text in a Western encoding has are damage, not an encoding.
    let high: Vec<u8> = sample.iter().copied().filter(|b| *b >= 0x80).collect();
    if high.len() <= 16
        && high.iter().all(|b| matches!(b, 0xfe | 0xff | 0xc0 | 0xc1 | 0x81 | 0x8d | 0x8f | 0x90 | 0x9d))
    {
        return Ok(UTF_8);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, whole);
    let guess = detector.guess(None, Utf8Detection::Deny);
    Ok(if guess == UTF_8 { WINDOWS_1252 } else { guess })
}

/// UTF-16 without a mark: text in it has zeros at the even places or at the odd ones.
fn utf16_by_zeros(sample: &[u8]) -> Option<&'static Encoding> {
    let pairs = sample.len() / 2;
    if pairs < 2 {
        return None;
    }
    let even = sample.chunks_exact(2).filter(|pair| pair[0] == 0 && pair[1] != 0).count();
    let odd = sample.chunks_exact(2).filter(|pair| pair[1] == 0 && pair[0] != 0).count();
    if odd * 10 > pairs * 4 && even * 20 < pairs {
        Some(UTF_16LE)
    } else if even * 10 > pairs * 4 && odd * 20 < pairs {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// How many invalid sequences and how many valid ones of several bytes there are, as UTF-8.
fn survey(sample: &[u8], whole: bool) -> (usize, usize) {
    let (mut invalid, mut sequences) = (0, 0);
    let mut chunks = sample.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        sequences += chunk.valid().bytes().filter(|b| *b >= 0xc0).count();
        // A character cut by the sample's end is not invalid.
        let cut = !whole && chunks.peek().is_none() && chunk.invalid().len() < 4;
        if !chunk.invalid().is_empty() && !cut {
            invalid += 1;
        }
    }
    (invalid, sequences)
}

/// Reads bytes of one encoding as UTF-8.
pub(crate) struct Transcoder<R> {
    reader: R,
    /// `None` for UTF-8.
    decoder: Option<encoding_rs::Decoder>,
    input: Vec<u8>,
    begin: usize,
    end: usize,
    last: bool,
    output: Vec<u8>,
    given: usize,
    done: bool,
}

const STEP_BYTES: usize = 16 * 1024;

impl<R> Transcoder<R> {
    pub fn new(reader: R, encoding: &'static Encoding) -> Self {
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal());
        let size = if decoder.is_some() { STEP_BYTES } else { 0 };
        Transcoder {
            reader,
            decoder,
            input: vec![0; size],
            begin: 0,
            end: 0,
            last: false,
            output: Vec::new(),
            given: 0,
            done: false,
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return self.reader.read(into) };
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.given < self.output.len() {
                let count = into.len().min(self.output.len() - self.given);
                into[..count].copy_from_slice(&self.output[self.given..self.given + count]);
                self.given += count;
                return Ok(count);
            }
            if self.done {
                return Ok(0);
            }
            if self.begin == self.end && !self.last {
                self.begin = 0;
                self.end = self.reader.read(&mut self.input)?;
                self.last = self.end == 0;
            }
            // Three bytes of UTF-8 are the most that a byte of any encoding becomes; some room more for its state.
            self.output.resize(STEP_BYTES * 3 + 64, 0);
            self.given = 0;
            let bytes = &self.input[self.begin..self.end];
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(bytes, &mut self.output, self.last);
            self.begin += read;
            self.output.truncate(written);
            match result {
                DecoderResult::Malformed(_, _) => self.output.push(0xff),
                DecoderResult::InputEmpty => self.done = self.last,
                DecoderResult::OutputFull => {}
            }
        }
    }
}
