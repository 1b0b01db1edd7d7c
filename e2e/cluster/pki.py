"""Certificates of a test cluster: one authority, short-lived, elliptic keys because they are quick to make."""

import ipaddress
import json
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=30)


@dataclass(frozen=True)
class Pair:
    """The files of one certificate and its key, both PEM."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates into `folder`; its own are `ca.crt` and `ca.key`."""

    def __init__(self, folder: Path, name: str = "modelfleet-test") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._subject, self._subject, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pair = self._write("ca", builder.sign(self._key, hashes.SHA256()), self._key)

    def issue(self, file: str, name: str, *, group: str = "", hosts: Sequence[str] = ()) -> Pair:
        """A certificate for server and client use; `group` is what Kubernetes reads as the user's group."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if group:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        builder = _builder(x509.Name(attributes), self._subject, key.public_key())
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False
            )
        return self._write(file, builder.sign(self._key, hashes.SHA256()), key)

    def signing_key(self, file: str) -> Path:
        """A bare private key, for service account tokens."""
        return _write_key(self.folder / f"{file}.key", ec.generate_private_key(ec.SECP256R1()))

    def _write(self, file: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
        path = self.folder / f"{file}.crt"
        path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return Pair(path, _write_key(self.folder / f"{file}.key", key))


def kubeconfig(file: Path, *, server: str, authority: Pair, user: Pair, name: str = "modelfleet") -> Path:
    """Write a kubeconfig that carries its certificates, so that the file can be moved."""
    cluster = {"server": server, "certificate-authority-data": _base64(authority.cert)}
    client = {"client-certificate-data": _base64(user.cert), "client-key-data": _base64(user.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": client}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=1) + "\n")  # JSON is YAML.
    return file


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(time.time(), UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            # The API server reads token keys in this form only.
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return path


def _base64(file: Path) -> str:
    return b64encode(file.read_bytes()).decode()
