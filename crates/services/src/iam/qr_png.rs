//! A QR code as a PNG image, for the authenticator apps that scan an MFA device's seed.

use qrcodegen::{QrCode, QrCodeEcc};

/// Pixels of a module's side.
const MODULE_PIXELS: usize = 4;
/// Modules of the white border, which the standard asks for.
const BORDER_MODULES: i32 = 4;
/// The most that a stored block of deflate holds.
const STORED_BYTES_MAX: usize = 0xffff;

/// The image; none where the text is too long for a QR code.
pub(super) fn qr_png(text: &str) -> Option<Vec<u8>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let range = -BORDER_MODULES..code.size() + BORDER_MODULES;
    let side = range.clone().count() * MODULE_PIXELS;
    let mut pixels = Vec::with_capacity((side + 1) * side);
    for y in range.clone() {
        let mut row = vec![0];
        for x in range.clone() {
            let shade = if code.get_module(x, y) { 0 } else { u8::MAX };
            row.extend([shade; MODULE_PIXELS]);
        }
        for _ in 0..MODULE_PIXELS {
            pixels.extend_from_slice(&row);
        }
    }
    let side = u32::try_from(side).ok()?.to_be_bytes();
    // Eight bits of grey, no interlacing.
    let header = [&side[..], &side[..], &[8, 0, 0, 0, 0]].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, *b"IHDR", &header);
    chunk(&mut png, *b"IDAT", &stored(&pixels));
    chunk(&mut png, *b"IEND", &[]);
    Some(png)
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    png.extend(length.to_be_bytes());
    let start = png.len();
    png.extend(kind);
    png.extend_from_slice(data);
    let check = crc32(&png[start..]);
    png.extend(check.to_be_bytes());
}

/// The bytes in zlib's wrapping, uncompressed.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(STORED_BYTES_MAX).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        zlib.push(u8::from(blocks.peek().is_none()));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend_from_slice(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    zlib.extend(((b << 16) | a).to_be_bytes());
    zlib
}

fn crc32(bytes: &[u8]) -> u32 {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
    u32::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_chunks_and_sums() {
        let png = qr_png("otpauth://totp/x?secret=MZXW6YTBOI").unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"));
        assert!(png.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        assert_eq!(stored(b"a"), b"\x78\x01\x01\x01\0\xfe\xffa\0\x62\0\x62");
        assert_eq!(qr_png(&"x".repeat(5000)), None);
    }
}
