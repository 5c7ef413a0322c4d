//! Packs the parts of a release that `scripts/image` and `scripts/release` have built.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use crm_release::archive::{self, File};
use crm_release::image::Multi;
use crm_release::install::{self, Manifests};
use crm_release::sbom::{self, Toolchain};
use crm_release::{Architecture, NAME, Release, chart, krew, licences, read, wheel, write};
use serde_json::Value;

/// Packs the parts of a release.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    release: Release,
    #[command(flatten)]
    toolchain: Toolchain,
    /// The directory with a directory for each architecture, in which are the program and its sbom.json.
    #[arg(long)]
    programs: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the image as an OCI layout, and as an archive beside it.
    Image {
        /// The directory of the layout.
        directory: PathBuf,
    },
    /// Write everything.
    All {
        /// What `cargo metadata` prints, to find the licences of crates.
        #[arg(long)]
        metadata: PathBuf,
        /// The directory with other licences, completions, man pages and rendered overlays.
        #[arg(long)]
        inputs: PathBuf,
        /// The directory for the files.
        directory: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let programs = Programs::read(&cli)?;
    match &cli.command {
        Command::Image { directory } => {
            let image = programs.image(&cli.release)?;
            image.layout.write(directory)?;
            write(&directory.with_extension("tar"), &image_archive(&image, &cli.release)?)
        }
        Command::All { metadata, inputs, directory } => {
            let licences = all_licences(&programs, metadata, inputs)?;
            everything(&cli.release, &programs, &licences, inputs, directory)
        }
    }
}

/// The program for each architecture, with its SBOM.
struct Programs {
    files: Vec<(Architecture, Vec<u8>)>,
    sboms: Vec<Value>,
}

impl Programs {
    fn read(cli: &Cli) -> anyhow::Result<Self> {
        let root = std::env::current_dir()?.display().to_string();
        let (mut files, mut sboms) = (Vec::new(), Vec::new());
        for architecture in Architecture::ALL {
            let directory = cli.programs.join(architecture.name());
            let program = read(&directory.join(NAME))?;
            let path = directory.join("sbom.json");
            let written = String::from_utf8(read(&path)?)?;
            let sbom =
                sbom::of_program(&written, &root, &cli.toolchain, (architecture, &program), &cli.release);
            sboms.push(sbom.with_context(|| path.display().to_string())?);
            files.push((architecture, program));
        }
        Ok(Self { files, sboms })
    }

    fn image(&self, release: &Release) -> anyhow::Result<Multi> {
        let sbom = |digest: &str| {
            let sbom = sbom::of_image(digest, &self.sboms, release)?;
            Ok(sbom::file(&format!("{NAME}-{}-image", release.version), &sbom))
        };
        Multi::new(release, &self.files, sbom)
    }
}

/// The layout as an archive that `docker load`, `podman load` and `ctr images import` read.
fn image_archive(image: &Multi, release: &Release) -> anyhow::Result<Vec<u8>> {
    let mut files = image.layout.files();
    files.push(image.docker.clone());
    Ok(archive::tar(files, release.time)?)
}

fn everything(
    release: &Release,
    programs: &Programs,
    licences: &[File],
    inputs: &Path,
    directory: &Path,
) -> anyhow::Result<()> {
    let stem = format!("{NAME}-{}", release.version);
    let mut files = Vec::new();
    let mut archives = Vec::new();
    for ((architecture, program), sbom) in programs.files.iter().zip(&programs.sboms) {
        let name = format!("{stem}-linux-{}", architecture.name());
        files.push(sbom::file(&name, sbom));
        files.push(wheel::wheel(release, *architecture, program, licences)?);
        let content = program_archive(&name, program, licences, inputs, release)?;
        archives.push((*architecture, format!("{name}.tar.gz"), content));
    }
    files.push(File::data(format!("{NAME}.krew.yaml"), krew::manifest(release, &archives)?));
    files.extend(archives.into_iter().map(|(_, name, content)| File::data(name, content)));

    let image = programs.image(release)?;
    files.push(sbom::file(
        &format!("{stem}-image"),
        &sbom::of_image(&image.digest, &programs.sboms, release)?,
    ));
    files.push(File::data(format!("{stem}-image.tar"), image_archive(&image, release)?));
    files.extend(chart_files(&stem, &image.digest, release)?);
    files.extend(manifests(&image.digest, inputs, release)?);
    files.iter().try_for_each(|file| write(&directory.join(&file.path), &file.content))
}

/// Our licence and those of everything that is in the program.
fn all_licences(programs: &Programs, metadata: &Path, inputs: &Path) -> anyhow::Result<Vec<File>> {
    let metadata = serde_json::from_slice(&read(metadata)?)?;
    let mut files = vec![
        File::data("LICENSE", read(Path::new("LICENSE"))?),
        File::data("LICENSES-crates.txt", licences::page(&programs.sboms, &metadata)?),
    ];
    for file in archive::below(&inputs.join("licences"), "")? {
        files.push(File::data(file.path.trim_start_matches('/'), file.content));
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn program_archive(
    name: &str,
    program: &[u8],
    licences: &[File],
    inputs: &Path,
    release: &Release,
) -> anyhow::Result<Vec<u8>> {
    let mut files = vec![File::program(format!("{name}/{NAME}"), program)];
    files.extend(
        licences.iter().map(|file| File::data(format!("{name}/{}", file.path), file.content.clone())),
    );
    for part in ["completions", "man"] {
        files.extend(archive::below(&inputs.join(part), &format!("{name}/{part}"))?);
    }
    Ok(archive::gzip(&archive::tar(files, release.time)?)?)
}

fn chart_files(stem: &str, digest: &str, release: &Release) -> anyhow::Result<[File; 3]> {
    let (package, metadata) = chart::pack(Path::new("manifests/chart").join(NAME).as_path(), release)?;
    let sbom = sbom::file(&format!("{stem}-chart"), &sbom::of_chart(&package, digest, release)?);
    let layout = chart::artifact(package.clone(), &metadata, &sbom, release)?;
    let archive = archive::tar(layout.files(), release.time)?;
    // Helm wants this name for the package, which has no room for "chart".
    Ok([File::data(format!("{stem}.tgz"), package), File::data(format!("{stem}-chart.tar"), archive), sbom])
}

fn manifests(digest: &str, inputs: &Path, release: &Release) -> anyhow::Result<Vec<File>> {
    let crds = install::crds(Path::new("manifests/crds"))?;
    let mut files = Vec::new();
    for file in archive::below(&inputs.join("overlays"), "")? {
        let overlay = file.path.trim_start_matches('/').trim_end_matches(".yaml").to_owned();
        let manifests = Manifests::new(&overlay, &String::from_utf8(file.content)?, &crds, digest, release)?;
        files.push(File::data(format!("install-{overlay}.yaml"), manifests.install));
        files.push(File::data(format!("uninstall-{overlay}.yaml"), manifests.uninstall));
    }
    Ok(files)
}
