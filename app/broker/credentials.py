"""Certificates (by the cryptography package) and passwords of a secure development broker, made once and kept."""

from __future__ import annotations

import datetime
import ipaddress
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.app.broker.jars import INSTALL_EXTRA, MISSING_EXTRA
from headrace.app.broker.properties import HOST, Credentials
from headrace.app.errors import OutsideError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder

VALID_DAYS = 3650


def credentials_in(directory: Path) -> Credentials:
    """The credentials kept in a folder; made at the first call. All files are readable by their owner only."""
    passwords, broker_pem, ca_pem = directory / "passwords.json", directory / "broker.pem", directory / "ca.pem"
    if not passwords.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_certificates(broker_pem, ca_pem)
        write_private(passwords, json.dumps({name: secrets.token_urlsafe(18) for name in ("admin", "app")}))
    kept = json.loads(passwords.read_text())
    return Credentials(kept["admin"], kept["app"], broker_pem, ca_pem)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text)


def _write_certificates(broker_pem: Path, ca_pem: Path) -> None:
    """A certificate authority of its own, and a certificate signed by it for this machine's loopback names."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise OutsideError(f"{MISSING_EXTRA} ({error.name})", hint=INSTALL_EXTRA) from error

    ca_key = ec.generate_private_key(ec.SECP256R1())
    authority = _signed(_builder("Headrace development CA", ca_key, authority=ca_key, issuer=None), ca_key)
    broker_key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))])
    builder = _builder("localhost", broker_key, authority=ca_key, issuer=authority).add_extension(names, critical=False)
    certificate = _signed(builder, ca_key)

    pem = serialization.Encoding.PEM
    private = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(broker_pem, (private + certificate.public_bytes(pem)).decode())
    write_private(ca_pem, authority.public_bytes(pem).decode())


def _builder(
    name: str, key: EllipticCurvePrivateKey, *, authority: EllipticCurvePrivateKey, issuer: Certificate | None
) -> CertificateBuilder:
    from cryptography import x509

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    is_authority = issuer is None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )


def _signed(builder: CertificateBuilder, key: EllipticCurvePrivateKey) -> Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())
