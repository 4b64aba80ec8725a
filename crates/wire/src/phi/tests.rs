use proptest::prelude::*;

use super::*;
use PhiKind::*;

fn found(text: &str) -> Vec<(PhiKind, &str)> {
    find(text).into_iter().map(|phi| (phi.kind, text.get(phi.range).unwrap())).collect()
}

#[test]
fn identifiers_are_found_where_they_are() {
    for (text, kind, what) in [
        ("Escríbeme a ana.lopez+cita@clinica.example.mx.", Email, "ana.lopez+cita@clinica.example.mx"),
        ("ANA@CLINICA.MX", Email, "ANA@CLINICA.MX"),
        ("mi curp es HEGG560427MVZRRL04, gracias", Curp, "HEGG560427MVZRRL04"),
        ("hegg560427mvzrrl04", Curp, "hegg560427mvzrrl04"),
        // Announced, so that a slip in the last digit does not hide it.
        ("CURP: HEGG560427MVZRRL05", Curp, "HEGG560427MVZRRL05"),
        ("GODE561231GR8", Rfc, "GODE561231GR8"),
        ("GODE-561231-GR8", Rfc, "GODE-561231-GR8"),
        ("RFC GODE561231GR9", Rfc, "GODE561231GR9"),
        ("pago con 4111 1111 1111 1111 hoy", PaymentCard, "4111 1111 1111 1111"),
        ("5500005555555559", PaymentCard, "5500005555555559"),
        ("3400-000000-00009", PaymentCard, "3400-000000-00009"),
        ("mi NSS es 72985601238", Nss, "72985601238"),
        ("número del IMSS: 12-34-56-7890-1", Nss, "12-34-56-7890-1"),
        ("SSN 123456789", Ssn, "123456789"),
        ("it is 123-45-6789", Ssn, "123-45-6789"),
        ("12345678Z", Dni, "12345678Z"),
        ("DNI 12.345.678-z", Dni, "12.345.678-z"),
        ("x-1234567-l", Nie, "x-1234567-l"),
        ("Expediente 12345", RecordNumber, "12345"),
        ("expediente clínico n.º 4471-B", RecordNumber, "4471-B"),
        ("MRN: 00-12345", RecordNumber, "00-12345"),
        ("her medical record number is A12345", RecordNumber, "A12345"),
        ("Exp. 123456", RecordNumber, "123456"),
        ("fecha de nacimiento: 12/05/1980", BirthDate, "12/05/1980"),
        ("F. Nac. 1980-05-12", BirthDate, "1980-05-12"),
        ("nació el 12 de mayo de 1980", BirthDate, "12 de mayo de 1980"),
        ("DOB May 12th, 1980", BirthDate, "May 12th, 1980"),
        ("she was born on 5-12-80", BirthDate, "5-12-80"),
        ("llámame al 55 1234 5678", Phone, "55 1234 5678"),
        ("222-123-4567", Phone, "222-123-4567"),
        ("+52 1 55 1234 5678", Phone, "52 1 55 1234 5678"),
        ("044 55 1234 5678", Phone, "044 55 1234 5678"),
        ("(555) 234-5678", Phone, "555) 234-5678"),
        ("1-555-234-5678", Phone, "1-555-234-5678"),
        ("mi móvil: 612 34 56 78", Phone, "612 34 56 78"),
        ("612345678", Phone, "612345678"),
        ("+34 912 345 678", Phone, "34 912 345 678"),
        ("０５５", Phone, ""),
        ("tel. 5661-2345", Phone, "5661-2345"),
        ("５５１２３４５６７８", Phone, "５５１２３４５６７８"),
        ("E11.9", DiagnosisCode, "E11.9"),
        ("CIE-10: F32", DiagnosisCode, "F32"),
        ("Dx e119", DiagnosisCode, "e119"),
        ("tengo DIABETES", Diagnosis, "DIABETES"),
        ("diabe\u{301}tes?", Diagnosis, "diabe\u{301}tes"),
        ("la esclerosis múltiple avanza", Diagnosis, "esclerosis múltiple"),
        ("she lives with HIV", Diagnosis, "HIV"),
    ] {
        let expected: &[_] = if what.is_empty() { &[] } else { &[(kind, what)] };
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn several_are_given_in_order_without_overlap() {
    assert_eq!(
        found("5512345678@clinica.mx, tel 55 1234 5678; expediente 5512345678, depresión (F32.1)"),
        [
            (Email, "5512345678@clinica.mx"),
            (Phone, "55 1234 5678"),
            (RecordNumber, "5512345678"),
            (Diagnosis, "depresión"),
            (DiagnosisCode, "F32.1"),
        ],
    );
}

#[test]
fn a_wrong_checksum_without_a_cue_is_nothing() {
    for text in [
        "HEGG560427MVZRRL05",
        "HEGG561327MVZRRL04",
        "GODE561231GR9",
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "12345678A",
        "X1234567A",
        "12985601230",
        "000-45-6789",
        "666-45-6789",
        "923-45-6789",
        "123-00-6789",
        "123-45-0000",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

/// What patients and doctors write all day.
const SMALL_TALK: &[&str] = &[
    "Buenos días, doctora. ¿Cómo está?",
    "Me duele la cabeza desde ayer y tengo fiebre de 38.5",
    "Tengo T38.5, ¿qué tomo?",
    "Tome paracetamol de 500 mg cada 8 horas por 5 días",
    "Mi presión hoy: 120/80, ayer 130 85 72",
    "Glucosa en ayunas 98, 102, 110 y 95",
    "La glucosa fue 110 120 130",
    "Vitamina B12 y D3, una al día",
    "¿La cita es el 24/11/2026 a las 10:30?",
    "Nos vemos el 12 de mayo de 2027",
    "Peso 72.5 kg y mido 1.78",
    "Colesterol 190, triglicéridos 150, HDL 45",
    "Le dejo la receta 2 de 3, consultorio 12, piso 4",
    "Son $1,250.00 pesos por la consulta de 2026",
    "El medicamento vence exp. 12/2026",
    "El expediente de 2024 ya está listo",
    "Nací en 1980",
    "Me duele entre L4-L5 y C3-C4",
    "La resonancia es de T12-L1",
    "Feliz año nuevo, nos vemos en enero",
    "Mi hijo cumple 5 años el sábado",
    "El baño está al fondo",
    "Actualice la aplicación a la versión v10.2.1",
    "Ticket 550e8400-e29b-41d4-a716-446655440000",
    "Puede ver el video en https://example.org/video/12?t=30",
    "@doctora, gracias",
    "Good morning! See you at 9:15 on 2026-11-24.",
    "I take 2 tablets of 250 mg twice a day",
    "My heart rate was 72 today, 80 yesterday, 75 on Monday",
    "My hearing aids need batteries",
    "The swimming stroke still hurts my shoulder",
    "Room A12, second floor, ask for form B2",
    "Order 1234567 has arrived",
    "The test takes 15-20 minutes",
    "Call me when you can",
    "Please use the phone at reception between 9 and 17",
    "1. reposo 2. agua 3. dieta blanda",
    "0.5 ml, 1.0 ml, 1.5 ml",
];

#[test]
fn small_talk_has_nothing() {
    for text in SMALL_TALK {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn free_text_is_short_and_clean() {
    assert_eq!(check_free_text(&"ñ".repeat(MAX_FREE_TEXT_CHARS)), Ok(()));
    assert_eq!(check_free_text(&"ñ".repeat(MAX_FREE_TEXT_CHARS + 1)), Err(FreeTextError::TooLong));
    assert_eq!(check_free_text("El paciente no contesta desde el lunes"), Ok(()));
    let error = check_free_text("llamar al 55 1234 5678, diabetes").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the text has a phone number, a diagnosis in it: the server can read it, so leave that out",
    );
}

#[test]
fn nothing_repeats_what_was_found() {
    let text = "HEGG560427MVZRRL04 sida";
    for shown in [format!("{:?}", find(text)), format!("{:?}", check_free_text(text))] {
        assert!(!shown.contains("HEGG") && !shown.contains("sida"), "{shown}");
    }
}

#[test]
fn the_words_of_the_list_are_folded_and_in_order() {
    let names = &*codes::NAMES;
    for pair in names.windows(2) {
        assert!(pair[0] < pair[1], "{pair:?}");
    }
    for name in names {
        assert_eq!(found(name), [(Diagnosis, *name)]);
    }
}

#[test]
fn kinds_are_named_as_in_json() {
    for kind in PhiKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_looked_through(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn texts_of_the_scanner_s_own_characters_are_looked_through(
        text in "[0-9a-cdnxñÑé@.+() /#\u{301}\u{303}-]{0,80}",
    ) {
        check(&text)?;
    }

    /// Whatever the number: with its right last digit it is found, with a wrong one not.
    #[test]
    fn a_card_is_its_checksum(body in proptest::collection::vec(0_u32..10, 14), last in 0_u32..10) {
        let digits: Vec<u32> = std::iter::once(4).chain(body).chain([last]).collect();
        let text: String = digits.iter().filter_map(|digit| char::from_digit(*digit, 10)).collect();
        let is_card = found(&text).contains(&(PaymentCard, text.as_str()));
        prop_assert_eq!(is_card, numbers::luhn(&digits) && digits.iter().any(|digit| *digit != 4));
    }

    #[test]
    fn a_phone_is_found_in_any_sentence(before in "[a-z ]{0,20} ", area in 20_u32..100, rest in 0_u32..100_000_000) {
        let phone = format!("{area} {:04} {:04}", rest / 10_000, rest % 10_000);
        let text = format!("{before}{phone}, gracias");
        prop_assert!(find(&text).iter().any(|phi| phi.range.contains(&(before.len() + 1))), "{}", text);
    }
}

/// Ranges lie in the text, in order, on characters.
fn check(text: &str) -> Result<(), TestCaseError> {
    let mut end = 0;
    for phi in find(text) {
        prop_assert!(phi.range.start >= end && phi.range.start < phi.range.end);
        prop_assert!(text.get(phi.range.clone()).is_some());
        end = phi.range.end;
    }
    Ok(())
}
