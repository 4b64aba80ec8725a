//! QR codes in terminals and on paper.

use qrcode::{
    EcLevel, QrCode,
    render::{svg, unicode::Dense1x2},
};

use crate::{Error, Result};

/// For a terminal with light letters on a dark ground, as most are.
pub(super) fn terminal(content: &str) -> Result<String> {
    let image = code(content)?;
    Ok(image.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// For dark ink on white paper, in letters.
pub(super) fn paper(content: &str) -> Result<String> {
    Ok(code(content)?.render::<Dense1x2>().build())
}

/// For paper, as the inside of an SVG document: a nested `<svg>` of this size at this place.
pub(super) fn drawing(content: &str, x: u32, y: u32, size: u32) -> Result<String> {
    let document = code(content)?.render::<svg::Color<'_>>().min_dimensions(size, size).build();
    let start = document.find("<svg").ok_or_else(|| Error::internal("a QR code without a drawing"))?;
    let nested = document.get(start..).unwrap_or_default();
    Ok(nested.replacen("<svg ", &format!("<svg x=\"{x}\" y=\"{y}\" "), 1))
}

fn code(content: &str) -> Result<QrCode> {
    QrCode::with_error_correction_level(content, EcLevel::M).map_err(Error::internal)
}
