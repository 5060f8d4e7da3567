//! The demo's configuration folder: complete, and servable by `portcullis run --config` as it is.

use std::path::{Path, PathBuf};

use super::files::write_public;
use super::pki::Pki;
use super::regions::Region;
use super::{AUDIENCE, DemoFault, FOLDER, ISSUER, TRUST_DOMAIN, tokens};
use crate::cli::DemoArgs;

const TEMPLATE: &str = include_str!("portcullis.yaml");
const CONTRACT: &str = include_str!("../../../../schemas/openapi/appointments.yaml");

/// The policies of the repository, as they are.
const POLICIES: &[(&str, &str)] = &[
    ("authz.rego", include_str!("../../../../policies/authz.rego")),
    ("rbac.rego", include_str!("../../../../policies/rbac.rego")),
    (
        "residency.rego",
        include_str!("../../../../policies/residency.rego"),
    ),
    (
        "spiffe_allow.rego",
        include_str!("../../../../policies/spiffe_allow.rego"),
    ),
    ("tenant.rego", include_str!("../../../../policies/tenant.rego")),
    ("data.json", include_str!("../../../../policies/data.json")),
];

/// Says that a folder is ours to write into again.
const MARK: &str = ".portcullis-demo";

/// The ports of the gateway and of the light switches; 0 is any free one.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) gateway: u16,
    pub(super) admin: u16,
    pub(super) control: u16,
}

/// The folder; one that was made for `--once` is removed with this value.
pub(super) struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    /// Takes a folder of an earlier demo, or makes one; never writes into somebody else's.
    pub(super) fn prepare(args: &DemoArgs) -> Result<Self, DemoFault> {
        let is_temporary = args.once && args.dir.is_none();
        let path = match &args.dir {
            Some(dir) => dir.clone(),
            None if is_temporary => temporary()?,
            None => PathBuf::from(FOLDER),
        };
        let mark = path.join(MARK);
        let is_empty = std::fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none());
        if !is_empty && !mark.exists() {
            return Err(DemoFault::Foreign(path));
        }
        write_public(
            &mark,
            "Written by `portcullis demo`; everything here is replaced by the next one.\n",
        )?;
        let path = path
            .canonicalize()
            .map_err(|cause| DemoFault::Read(path, cause))?;
        Ok(Self { path, is_temporary })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything that the configuration names, and the configuration.
    pub(super) fn write(&self, pki: &Pki, regions: &[Region], ports: Ports) -> Result<(), DemoFault> {
        pki.write(&self.path.join("pki"))?;
        tokens::write(&self.path.join("tokens"))?;
        write_public(&self.path.join("appointments.yaml"), CONTRACT)?;
        for (name, text) in POLICIES {
            write_public(&self.path.join("policies").join(name), text)?;
        }
        let schema = serde_json::to_string_pretty(&portcullis_config::json_schema())?;
        write_public(&self.path.join("portcullis.schema.json"), &schema)?;
        write_public(&self.path.join("portcullis.yaml"), &configuration(regions, ports))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            // What cannot be removed is small and in the system's folder for such things.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A new folder that only we can look into; one that is already there is somebody else's.
fn temporary() -> Result<PathBuf, DemoFault> {
    let path = std::env::temp_dir().join(format!("portcullis-demo-{:016x}", rand::random::<u64>()));
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(&path)
        .map_err(|cause| DemoFault::Write(path.clone(), cause))?;
    Ok(path)
}

fn configuration(regions: &[Region], ports: Ports) -> String {
    let mut text = TEMPLATE
        .replace("{{port}}", &ports.gateway.to_string())
        .replace("{{admin}}", &ports.admin.to_string())
        .replace("{{trust_domain}}", TRUST_DOMAIN)
        .replace("{{issuer}}", ISSUER)
        .replace("{{audience}}", AUDIENCE);
    for region in regions {
        text = text.replace(&format!("{{{{{}}}}}", region.name), &region.address.to_string());
    }
    text
}
