//! The demo's documents: PDFs as a laboratory's printer makes them, of one page.

/// The size of the scanned form, in pixels of a byte: US letter at 200 dpi.
const SCAN: (usize, usize) = (1700, 2200);

/// A page with these lines, and under them a scanned form: some megabytes.
pub(super) fn with_scan(lines: &[&str]) -> Vec<u8> {
    let (width, height) = SCAN;
    let mut grain: u32 = 1;
    // Paper: nearly white, nowhere the same.
    let scan: Vec<u8> = std::iter::repeat_with(|| {
        grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        200 + grain.to_be_bytes()[0] % 56
    })
    .take(width * height)
    .collect();
    let image = format!(
        "/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceGray /BitsPerComponent 8"
    );
    document(lines, "", &[stream(&image, &scan)])
}

/// A page with these lines, and a file attached to it.
pub(super) fn with_attachment(lines: &[&str], attached: &[u8]) -> Vec<u8> {
    let names = " /Names << /EmbeddedFiles << /Names [(a.txt) 7 0 R] >> >>";
    let attachment = stream("/Type /EmbeddedFile", attached);
    let specification = b"<< /Type /Filespec /F (a.txt) /EF << /F 6 0 R >> >>".to_vec();
    document(lines, names, &[attachment, specification])
}

/// Objects 1 to 5 are the page; `more` are those from 6 on. A picture is object 6.
fn document(lines: &[&str], catalog: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let shown: String = lines.iter().map(|line| format!("({line}) Tj T*\n")).collect();
    let is_scan = catalog.is_empty();
    let drawn = if is_scan { "q 400 0 0 518 106 60 cm /Scan Do Q\n" } else { "" };
    let resources = if is_scan { " /XObject << /Scan 6 0 R >>" } else { "" };
    let page = format!("BT /F1 11 Tf 16 TL 72 720 Td\n{shown}ET\n{drawn}");
    let mut objects = vec![
        format!("<< /Type /Catalog /Pages 2 0 R{catalog} >>").into_bytes(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] \
             /Resources << /Font << /F1 4 0 R >>{resources} >> /Contents 5 0 R >>"
        )
        .into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
        stream("", page.as_bytes()),
    ];
    objects.extend_from_slice(more);
    write(&objects)
}

fn stream(entries: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("<< {entries} /Length {} >>\nstream\n", bytes.len());
    [head.as_bytes(), bytes, b"\nendstream"].concat()
}

/// The file of these objects, numbered from 1, with where each begins (ISO 32000-1, 7.5).
fn write(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut places = String::new();
    for (number, object) in (1..).zip(objects) {
        places.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let (table, size) = (file.len(), objects.len() + 1);
    file.extend_from_slice(
        format!(
            "xref\n0 {size}\n0000000000 65535 f \n{places}trailer\n<< /Size {size} /Root 1 0 R >>\n\
             startxref\n{table}\n%%EOF\n"
        )
        .as_bytes(),
    );
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_where_each_of_its_objects_is() {
        for file in [with_scan(&["Una prueba"]), with_attachment(&["Una prueba"], b"attached")] {
            // The end is text, whatever a picture before it is.
            let at = |place: usize| {
                String::from_utf8_lossy(&file[place..file.len().min(place + 2000)]).into_owned()
            };
            let end = at(file.len() - 40);
            let (_, table) = end.split_once("startxref\n").unwrap();
            let table = at(table.split_once('\n').unwrap().0.parse().unwrap());
            let mut entries = table.lines();
            assert!(entries.next() == Some("xref"), "no table where it is said to be");
            let size: usize = entries.next().unwrap().strip_prefix("0 ").unwrap().parse().unwrap();
            assert!(size > 6, "{size}");
            for (number, entry) in entries.take(size).enumerate().skip(1) {
                let place: usize = entry[..10].parse().unwrap();
                assert!(at(place).starts_with(&format!("{number} 0 obj\n")), "object {number}");
            }
            assert!(at(0).contains("(Una prueba) Tj"));
        }
    }
}
