//! What happened and what to do, for people, in their language. The English text stands beside the code.

use sigilo_wire::ErrorCode;

use super::language::Language;

/// The message of a code.
#[must_use]
pub const fn text(code: ErrorCode, language: Language) -> &'static str {
    match language {
        Language::English => code.message(),
        Language::Spanish => spanish(code),
    }
}

/// Exhaustive on purpose: a new code needs its Spanish text to compile.
const fn spanish(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidJson => {
            "La solicitud no es JSON válido o no tiene la forma esperada. Los detalles dicen dónde."
        }
        ErrorCode::UnknownField => {
            "La solicitud tiene un campo que este servidor no conoce. Quítelo o actualice el servidor."
        }
        ErrorCode::InvalidField => {
            "Un valor de la solicitud no es aceptable. Los detalles dicen cuál y qué se acepta."
        }
        ErrorCode::EncryptedField => {
            "El servidor no puede ver este campo: está cifrado de extremo a extremo. Filtre en el dispositivo."
        }
        ErrorCode::UnknownFrame => {
            "Este tipo de trama no se conoce. Consulte la documentación del protocolo."
        }
        ErrorCode::Unauthenticated => "Inicie sesión para hacer esto.",
        ErrorCode::TokenExpired => "El token de acceso ha caducado. Renuévelo e inténtelo de nuevo.",
        ErrorCode::TokenReused => {
            "Este token de renovación ya se había usado. Por seguridad se cerró la sesión de este dispositivo; inicie sesión de nuevo."
        }
        ErrorCode::DeviceRevoked => {
            "Este dispositivo ya no tiene acceso. Inicie sesión de nuevo o consulte a la clínica."
        }
        ErrorCode::InvalidCredentials => {
            "La clínica, el correo electrónico o la contraseña no son correctos."
        }
        ErrorCode::MfaRequired => {
            "Esta cuenta tiene un segundo factor. Envíe como 'totp' el código de la aplicación de autenticación o un código de recuperación."
        }
        ErrorCode::InvalidTotp => {
            "El código no es correcto o ya se usó. Espere al siguiente y compruebe el reloj de este dispositivo."
        }
        ErrorCode::InvalidInvitation => {
            "Esta invitación no es válida (o ya no lo es). Pida otra a la clínica."
        }
        ErrorCode::InvalidLink => {
            "Este enlace no es válido (o ya no lo es). Empiece de nuevo en ambos dispositivos."
        }
        ErrorCode::InvalidReset => {
            "Este código para una contraseña nueva no es válido (o ya no lo es). Pida otro a la clínica."
        }
        ErrorCode::Forbidden => "Las reglas de la clínica no permiten esto.",
        ErrorCode::ConversationNotAllowed => "No puede iniciar una conversación con esta persona.",
        ErrorCode::MessageNotAllowed => "No puede enviar mensajes en esta conversación.",
        ErrorCode::StepUpRequired => {
            "Confirme que es usted: con un código de la aplicación de autenticación, o con la contraseña si la cuenta no la usa. Después inténtelo de nuevo."
        }
        ErrorCode::MfaEnrolmentRequired => {
            "Su función necesita una aplicación de autenticación. Dé de alta una; hasta entonces no es posible nada más."
        }
        ErrorCode::NotFound => "Aquí no hay nada, o no es suyo.",
        ErrorCode::MethodNotAllowed => "Esta ruta no admite este método. Consulte /api/docs/.",
        ErrorCode::IdempotencyConflict => {
            "Esta clave de idempotencia o este identificador de mensaje ya se usó en otra solicitud. Use uno nuevo."
        }
        ErrorCode::DeviceMismatch => {
            "Los dispositivos de los destinatarios han cambiado. Obtenga los manifiestos que indican los detalles, compruébelos y envíe de nuevo."
        }
        ErrorCode::DeviceKeysExpired => {
            "La preclave firmada de este dispositivo tiene más de 45 días. Publique una nueva y envíe después."
        }
        ErrorCode::SealStale => {
            "La conversación necesita un sello de registro nuevo. Haga uno para los miembros actuales y envíe de nuevo."
        }
        ErrorCode::SealUnknown => {
            "El sello de registro del mensaje no se conoce para este dispositivo y esta conversación. Publíquelo primero."
        }
        ErrorCode::ChainGap => {
            "Falta un mensaje anterior de este dispositivo. Continúe desde el estado que dan los detalles."
        }
        ErrorCode::KeysDiffer => {
            "El servidor tiene otras claves para este dispositivo. Publique de nuevo las claves del dispositivo."
        }
        ErrorCode::ManifestConflict => {
            "El manifiesto de dispositivos no es la versión siguiente a la actual. Obténgalo y firme uno nuevo."
        }
        ErrorCode::IdentityExists => {
            "Esta cuenta ya tiene una clave de identidad. Un cambio requiere la firma de la anterior o un restablecimiento."
        }
        ErrorCode::KeysMissing => "Aún no se han publicado claves de esta persona o de este dispositivo.",
        ErrorCode::ClinicKeysMissing => {
            "Las claves de la clínica no están instaladas. Ejecute 'sigilo records init' sin conexión y después 'sigilo admin clinic install-keys'."
        }
        ErrorCode::DeviceLimit => {
            "Esta cuenta ya tiene todos los dispositivos que puede tener. Quite uno antes."
        }
        ErrorCode::NoEnrolment => {
            "No hay ninguna aplicación de autenticación por confirmar. Empiece de nuevo."
        }
        ErrorCode::AlreadyExists => "Esto ya existe.",
        ErrorCode::ConversationClosed => "Esta conversación está cerrada. Inicie una nueva.",
        ErrorCode::TooLarge => "La solicitud es más grande de lo permitido. Los detalles dan el límite.",
        ErrorCode::UnsupportedMediaType => "Envíe el cuerpo como application/json.",
        ErrorCode::InvalidSignature => "Una firma no es válida. Los detalles dicen cuál.",
        ErrorCode::InvalidKey => "Una clave está mal formada o no es segura. Los detalles dicen cuál.",
        ErrorCode::InvalidManifest => {
            "El manifiesto de dispositivos está mal formado o nombra otros dispositivos. Los detalles dicen qué."
        }
        ErrorCode::InvalidSeal => {
            "El sello de registro está mal formado o es para otros destinatarios. Los detalles dicen qué."
        }
        ErrorCode::OutsideChatHours => {
            "La clínica no recibe mensajes ahora. Los detalles dicen cuándo abre y dónde hay ayuda a cualquier hora."
        }
        ErrorCode::PhiDetected => {
            "El servidor puede leer este texto: quite lo que identifique a alguien o nombre una enfermedad."
        }
        ErrorCode::InvalidMessage => "El mensaje está mal formado. Los detalles dicen qué.",
        ErrorCode::WeakPassword => "Elija una contraseña más larga: al menos 12 caracteres.",
        ErrorCode::RateLimited => "Demasiadas solicitudes. Espere lo que indica Retry-After.",
        ErrorCode::Internal => {
            "Algo falló en el servidor. Inténtelo de nuevo; si persiste, dé a soporte el identificador de la solicitud."
        }
        ErrorCode::Unavailable => {
            "El servidor no puede hacer esto ahora. Inténtelo de nuevo según Retry-After; no se perdió nada."
        }
        ErrorCode::Unknown => "El servidor respondió con un error que este programa no conoce. Actualícelo.",
    }
}
