//! One certificate for `localhost` and whoever trusts it.

use std::sync::{Arc, LazyLock};

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The name that the certificate is for.
pub(crate) const NAME: &str = "localhost";

static CONFIGS: LazyLock<(ServerConfig, ClientConfig)> = LazyLock::new(|| {
    let certified = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(default_provider());

    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
});

/// A server that speaks HTTP/2 and HTTP/1.1.
pub(crate) fn server() -> Arc<ServerConfig> {
    Arc::new(CONFIGS.0.clone())
}

/// A client that speaks this protocol alone.
pub(crate) fn client(protocol: &str) -> Arc<ClientConfig> {
    let mut config = CONFIGS.1.clone();
    config.alpn_protocols = vec![protocol.into()];
    Arc::new(config)
}
