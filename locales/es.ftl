### Qué pasó y qué hacer, para personas: un mensaje por cada código de la API.
### Los detalles de la respuesta que son palabras o números pueden nombrarse, como { $max_size }.

# 400
invalid_json = La solicitud no es JSON válido o no tiene la forma esperada. Los detalles dicen dónde.
unknown_field = La solicitud tiene un campo que este servidor no conoce. Quítelo o actualice el servidor.
invalid_field = Un valor de la solicitud no es aceptable. Los detalles dicen cuál y qué se acepta.
encrypted_field = El servidor no puede ver este campo: está cifrado de extremo a extremo. Filtre en el dispositivo.
unknown_frame = Este tipo de trama no se conoce. Consulte la documentación del protocolo.

# 401
unauthenticated = Inicie sesión para hacer esto.
token_expired = El token de acceso ha caducado. Renuévelo e inténtelo de nuevo.
token_reused = Este token de renovación ya se había usado. Por seguridad se cerró la sesión de este dispositivo; inicie sesión de nuevo.
device_revoked = Este dispositivo ya no tiene acceso. Inicie sesión de nuevo o consulte a la clínica.
invalid_credentials = La clínica, el correo electrónico o la contraseña no son correctos.
mfa_required = Esta cuenta tiene un segundo factor. Envíe como 'totp' el código de la aplicación de autenticación o un código de recuperación.
invalid_totp = El código no es correcto o ya se usó. Espere al siguiente y compruebe el reloj de este dispositivo.
invalid_invitation = Esta invitación no es válida (o ya no lo es). Pida otra a la clínica.
invalid_link = Este enlace no es válido (o ya no lo es). Empiece de nuevo en ambos dispositivos.
invalid_reset = Este código para una contraseña nueva no es válido (o ya no lo es). Pida otro a la clínica.
oidc_login_failed = El acceso con el proveedor de identidad de la clínica no ha funcionado. Empiece de nuevo.
oidc_not_bound = La clínica no ha vinculado este acceso con una cuenta. Pregunte a la clínica.

# 403
forbidden = Las reglas de la clínica no permiten esto.
conversation_not_allowed = No puede iniciar una conversación con esta persona.
message_not_allowed = No puede enviar mensajes en esta conversación.
step_up_required = Confirme que es usted: con un código de la aplicación de autenticación, o con la contraseña si la cuenta no la usa. Después inténtelo de nuevo.
mfa_enrolment_required = Su función necesita una aplicación de autenticación. Dé de alta una; hasta entonces no es posible nada más.
network_not_allowed = Su clínica no le permite entrar desde esta red. Use la red de la clínica o pregunte a la clínica.

# 404, 405
not_found = Aquí no hay nada, o no es suyo.
method_not_allowed = Esta ruta no admite este método. Consulte /api/docs/.

# 409
idempotency_conflict = Esta clave de idempotencia o este identificador de mensaje ya se usó en otra solicitud. Use uno nuevo.
device_mismatch = Los dispositivos de los destinatarios han cambiado. Obtenga los manifiestos que indican los detalles, compruébelos y envíe de nuevo.
device_keys_expired = La preclave firmada de este dispositivo tiene más de 45 días. Publique una nueva y envíe después.
seal_stale = La conversación necesita un sello de registro nuevo. Haga uno para los miembros actuales y envíe de nuevo.
seal_unknown = El sello de registro del mensaje no se conoce para este dispositivo y esta conversación. Publíquelo primero.
chain_gap = Falta un mensaje anterior de este dispositivo. Continúe desde el estado que dan los detalles.
keys_differ = El servidor tiene otras claves para este dispositivo. Publique de nuevo las claves del dispositivo.
manifest_conflict = El manifiesto de dispositivos no es la versión siguiente a la actual. Obténgalo y firme uno nuevo.
identity_exists = Esta cuenta ya tiene una clave de identidad. Un cambio requiere la firma de la anterior o un restablecimiento.
keys_missing = Aún no se han publicado claves de esta persona o de este dispositivo.
clinic_keys_missing = Las claves de la clínica no están instaladas. Ejecute 'sigilo records init' sin conexión y después 'sigilo admin clinic install-keys'.
device_limit = Esta cuenta ya tiene todos los dispositivos que puede tener. Quite uno antes.
no_enrolment = No hay ninguna aplicación de autenticación por confirmar. Empiece de nuevo.
already_settled = Esto ya se ha atendido, o no queda nadie a quien avisar. Los detalles dicen cómo está.
already_exists = Esto ya existe.
conversation_closed = Esta conversación está cerrada. Inicie una nueva.
file_not_available = Este archivo no se entrega: espera su análisis, está en cuarentena o ya venció. Los detalles dicen qué ocurre.
upload_offset = La carga continúa en otro punto. Pregunte con HEAD dónde y siga desde ahí.
checksum_mismatch = Los bytes recibidos no son los anunciados. Envíelos de nuevo.

# 413, 415
body_too_large = La solicitud pasa de los { $max_size } bytes permitidos.
file_too_large = El archivo pasa de los { $max_size } bytes que acepta la clínica.
storage_full = A la clínica no le queda espacio para archivos. Avise a la clínica; su administración puede liberar espacio.
unsupported_media_type = Envíe el cuerpo como application/json.

# 422
invalid_signature = Una firma no es válida. Los detalles dicen cuál.
invalid_key = Una clave está mal formada o no es segura. Los detalles dicen cuál.
invalid_manifest = El manifiesto de dispositivos está mal formado o nombra otros dispositivos. Los detalles dicen qué.
invalid_seal = El sello de registro está mal formado o es para otros destinatarios. Los detalles dicen qué.
invalid_message = El mensaje está mal formado. Los detalles dicen qué.
weak_password = Elija una contraseña más larga: al menos 12 caracteres.

# 429
rate_limited = Demasiadas solicitudes. Espere lo que indica Retry-After.

# 500, 503
internal = Algo falló en el servidor. Inténtelo de nuevo; si persiste, dé a soporte el identificador de la solicitud.
unavailable = El servidor no puede hacer esto ahora. Inténtelo de nuevo según Retry-After; no se perdió nada.
outside_chat_hours = La clínica no recibe mensajes ahora. Los detalles dicen cuándo abre y dónde hay ayuda a cualquier hora.
file_type_not_allowed = La clínica no acepta archivos de este tipo. Los detalles dicen cuáles acepta.
phi_detected = El servidor puede leer este texto: quite lo que identifique a alguien o nombre una enfermedad.

unknown = El servidor respondió con un error que este programa no conoce. Actualícelo.

# Qué hacer ante una negativa que no viene de una regla.
two_people-another = Otra persona tiene que aprobar lo que usted pidió.
two_people-ask_again = Quien lo pidió ya no puede hacerlo: pídalo de nuevo.
two_people-an_admin = Una de las dos personas tiene que ser administradora.
