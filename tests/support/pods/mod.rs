//! A cluster with pods: nodes with a container runtime, a kubelet and kube-proxy, on this machine and without a registry.
//!
//! A node is a set of namespaces. All of it, its network, its mounts and its processes, ends with the first process of
//! these namespaces, which ends with us. Only cgroups outlive their processes, so [`cgroups`] has them removed. Nothing
//! has a name outside of these namespaces, except for cgroups, whose names contain our process id: clusters can run
//! beside each other, although all have the same addresses.
//!
//! `tests/pods/build` builds the programs.

pub(crate) mod abandoned;
pub(crate) mod cgroups;
pub(crate) mod cluster;
pub(crate) mod family;
pub(crate) mod image;
pub(crate) mod machine;
pub(crate) mod neighbour;
mod network;
mod node;
mod owner;
pub(crate) mod requirements;
