use std::io::Write;

use crate::ErrorKind;
use flate2::write::GzEncoder;

use super::*;

const TEXT: &str = "id,name\n1,Ann\n2,Zoë\n3,Bob\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
    briefs(&read(bytes).1)
}

#[test]
fn every_compression_and_encoding_gives_the_same_rows() {
    let expected = rows(TEXT.as_bytes());
    assert_eq!(expected, [["1", "Ann"], ["2", "Zoë"], ["3", "Bob"]]);
    let utf16 = |bom: bool, unit: fn(u16) -> [u8; 2]| {
        let bom = bom.then_some(0xfeff);
        bom.into_iter().chain(TEXT.encode_utf16()).flat_map(unit).collect::<Vec<u8>>()
    };
    let (head, tail) = TEXT.as_bytes().split_at(11);
    let cases = [
        ("gzip", gzip(TEXT.as_bytes())),
        ("two gzip members", [gzip(head), gzip(tail)].concat()),
        ("padded gzip", [gzip(TEXT.as_bytes()), vec![0; 512]].concat()),
        ("zstd", zstd(TEXT.as_bytes())),
        ("two zstd frames", [zstd(head), zstd(tail)].concat()),
        ("bom", [b"\xef\xbb\xbf", TEXT.as_bytes()].concat()),
        ("utf-16le", utf16(false, u16::to_le_bytes)),
        ("utf-16be", utf16(false, u16::to_be_bytes)),
        ("utf-16le with bom", utf16(true, u16::to_le_bytes)),
        ("utf-16be with bom", utf16(true, u16::to_be_bytes)),
        ("latin-1", TEXT.chars().map(|c| c as u32 as u8).collect()),
        ("gzipped utf-16", gzip(&utf16(true, u16::to_le_bytes))),
    ];
    for (name, bytes) in cases {
        assert_eq!(rows(&bytes), expected, "{name}");
    }
}

#[test]
fn a_poison_file_is_refused_with_a_code() {
    let gz = gzip(TEXT.repeat(1000).as_bytes());
    let zst = zstd(TEXT.repeat(1000).as_bytes());
    let mut wrong_sum = gz.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let mut wrong_zstd = zst.clone();
    wrong_zstd[6..16].fill(0xff);
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    let random: Vec<u8> = (0..5_000)
        .map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        })
        .collect();
    let cases: Vec<(CsvCode, Vec<u8>)> = vec![
        (CsvCode::TruncatedGzip, gz[..gz.len() - 3].to_vec()),
        (CsvCode::TruncatedGzip, gz[..gz.len() / 2].to_vec()),
        (CsvCode::TruncatedGzip, b"\x1f\x8b\x08".to_vec()),
        (CsvCode::CorruptGzip, wrong_sum),
        (CsvCode::CorruptGzip, [gz, b"rubbish".to_vec()].concat()),
        (CsvCode::TruncatedZstd, zst[..zst.len() - 3].to_vec()),
        (CsvCode::CorruptZstd, wrong_zstd),
        (CsvCode::NotText, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
        (CsvCode::NotText, b"PK\x03\x04rest of a workbook".to_vec()),
        (CsvCode::NotText, b"PAR1rest".to_vec()),
        (CsvCode::NotText, random),
        (CsvCode::NotText, vec![0; 4096]),
    ];
    for (code, bytes) in cases {
        let error = failure(&bytes[..], &CsvLimits::default());
        assert_eq!((error.kind(), error.code()), (ErrorKind::File, code), "{error:?}");
    }
}

#[test]
fn a_bomb_stops_at_either_cap() {
    // After an ordinary line one of 150 MiB, which never becomes a record.
    let bomb = zstd(&[b"0\n".to_vec(), vec![b'0'; 150 << 20]].concat());
    assert_eq!(failure(&bomb[..], &CsvLimits::default()).code(), CsvCode::DecompressionBomb);
    let decode = DecodeLimits { max_decompressed_bytes: 10_000, ..DecodeLimits::default() };
    let limits = CsvLimits { decode, ..CsvLimits::default() };
    assert_eq!(failure(&gzip(&vec![b'0'; 20_000])[..], &limits).code(), CsvCode::DecompressionBomb);
}

#[test]
fn a_file_that_is_one_endless_line_is_refused_or_rejected() {
    let endless = || io::repeat(b'x').take(50 << 20);
    assert_eq!(failure(endless(), &CsvLimits::default()).code(), CsvCode::HeaderTooLong);
    let declared = Declared { header: Some(DeclaredHeader::Names(vec!["a".into()])), ..Declared::default() };
    let opened =
        open(endless(), &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject).unwrap();
    let mut records = opened.records;
    let kept = drain(&mut records).unwrap();
    assert!(
        matches!(&kept[..], [Kept::Reject(r)] if r.code == CsvCode::RecordTooLong && r.raw_len == 50 << 20)
    );
}

#[test]
fn a_failed_read_is_not_the_files_fault() {
    struct BrokenReader<'a>(&'a [u8]);
    impl Read for BrokenReader<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed")),
                count => Ok(count),
            }
        }
    }
    for bytes in
        [TEXT.as_bytes().to_vec(), gzip(TEXT.as_bytes()), zstd(TEXT.as_bytes()), b"\x1f\x8b".to_vec()]
    {
        let error = failure(BrokenReader(&bytes), &CsvLimits::default());
        assert_eq!((error.kind(), error.code()), (ErrorKind::Read, CsvCode::ReadFailed));
    }
}

#[test]
fn damage_in_utf8_and_in_utf16_rejects_the_record_that_holds_it() {
    let damaged = ["id,name\n1,Zoë\n2,Zo\u{eb}\n3,Žan\n".as_bytes(), b"4,x\xffy\n5,Ann\n"].concat();
    assert_eq!(rows(&damaged)[3..], [vec!["!invalid_utf8"], vec!["5", "Ann"]]);
    let mut units: Vec<u16> = "id,name\n1,Ann\n2,".encode_utf16().collect();
    units.push(0xd800);
    units.extend("\n3,Bob\n".encode_utf16());
    let bytes: Vec<u8> = units.into_iter().flat_map(u16::to_le_bytes).collect();
    assert_eq!(rows(&bytes), [vec!["1", "Ann"], vec!["!invalid_utf8"], vec!["3", "Bob"]]);
}
