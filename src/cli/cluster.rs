//! The flags that select a cluster, and the connection to it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use kube::Client;

use crate::certificates::InspectError;
use crate::cluster::{ReadError, RequestError, Source};
use crate::directory::LookupError;
use crate::doctor::NoCluster;

/// Which cluster to ask, with the flags of kubectl.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterArgs {
    /// Kubeconfig file; by default the files in KUBECONFIG, then ~/.kube/config, then the service account of the pod.
    #[arg(long, env = "CRM_ADMISSION_KUBECONFIG", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; by default its current context.
    #[arg(long, env = "CRM_ADMISSION_CONTEXT", value_name = "NAME")]
    context: Option<String>,
}

impl ClusterArgs {
    /// Connects to the cluster, and does the work with it. An error of the cluster names the context and the file.
    pub(super) async fn ask<T>(
        &self,
        work: impl AsyncFnOnce(Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let connection = self.source().connect().await?;
        let answer = work(connection.client).await;
        answer.map_err(|error| if is_of_cluster(&error) { error.context(connection.place) } else { error })
    }

    fn source(&self) -> Source {
        Source {
            kubeconfig: self.kubeconfig.clone().filter(|path| !path.as_os_str().is_empty()),
            context: self.context.clone().filter(|name| !name.is_empty()),
        }
    }
}

fn is_of_cluster(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<RequestError>()
            || cause.is::<ReadError>()
            || cause.is::<LookupError>()
            || cause.is::<NoCluster>()
            || cause.is::<InspectError>()
    })
}
