//! Python wheels that carry the program, so that `pip install` needs no compiler.
//!
//! A static program runs with every C library, so one wheel is for glibc and musl.

use std::io::{Cursor, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::archive::File;
use crate::{Architecture, DESCRIPTION, LICENCE, NAME, Release};

/// The name of the package in names of files.
const FILE_NAME: &str = "crm_admission";

/// The oldest glibc and musl for which pip has names.
fn platforms(architecture: Architecture) -> [String; 2] {
    let machine = architecture.machine();
    [format!("manylinux_2_17_{machine}.manylinux2014_{machine}"), format!("musllinux_1_1_{machine}")]
}

/// The wheel for an architecture.
///
/// # Errors
/// If the version is not one of Python's, or a file is too large for a zip archive.
pub fn wheel(
    release: &Release,
    architecture: Architecture,
    program: &[u8],
    licences: &[File],
) -> anyhow::Result<File> {
    let version = python_version(&release.version);
    let tag = format!("py3-none-{}", platforms(architecture).join("."));
    let info = format!("{FILE_NAME}-{version}.dist-info");
    let mut files = vec![
        File::program(format!("{FILE_NAME}-{version}.data/scripts/{NAME}"), program),
        File::data(format!("{info}/METADATA"), metadata(release, &version, licences)),
        File::data(format!("{info}/WHEEL"), about(architecture)),
    ];
    for licence in licences {
        files.push(File::data(format!("{info}/licenses/{}", licence.path), licence.content.clone()));
    }
    // The specification wants the record last.
    files.push(record(&files, format!("{info}/RECORD")));
    Ok(File::data(format!("{FILE_NAME}-{version}-{tag}.whl"), zip(&files, release)?))
}

/// The version as Python writes it: 1.2.3-rc.1 is 1.2.3rc1.
fn python_version(version: &str) -> String {
    version.replace("-alpha.", "a").replace("-beta.", "b").replace("-rc.", "rc")
}

fn metadata(release: &Release, version: &str, licences: &[File]) -> String {
    let mut text = format!(
        "Metadata-Version: 2.4\nName: {NAME}\nVersion: {version}\nSummary: {DESCRIPTION}\n\
         License-Expression: {LICENCE}\n"
    );
    for licence in licences {
        text += &format!("License-File: {}\n", licence.path);
    }
    if let Some(source) = &release.source {
        text += &format!("Project-URL: Source, {source}\n");
    }
    text + "Requires-Python: >=3.7\n"
}

fn about(architecture: Architecture) -> String {
    let mut text = "Wheel-Version: 1.0\nGenerator: crm-release\nRoot-Is-Purelib: false\n".to_owned();
    for platform in platforms(architecture).iter().flat_map(|platforms| platforms.split('.')) {
        text += &format!("Tag: py3-none-{platform}\n");
    }
    text
}

/// The list of all files with their digests, in which the list itself has none.
fn record(files: &[File], path: String) -> File {
    let mut text = String::new();
    for file in files {
        let digest = ring::digest::digest(&ring::digest::SHA256, &file.content);
        let digest = URL_SAFE_NO_PAD.encode(digest);
        text += &format!("{},sha256={digest},{}\n", file.path, file.content.len());
    }
    text += &format!("{path},,\n");
    File::data(path, text)
}

/// The level from which the zip library compresses with zopfli, once. Takes half a minute, and saves 2 %.
const ZOPFLI: i64 = 10;

fn zip(files: &[File], release: &Release) -> anyhow::Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    // The format has no times before 1980.
    let created = release.created()?.parse::<jiff::Timestamp>()?.to_zoned(jiff::tz::TimeZone::UTC);
    let time = DateTime::from_date_and_time(
        created.year().try_into()?,
        created.month().try_into()?,
        created.day().try_into()?,
        created.hour().try_into()?,
        created.minute().try_into()?,
        created.second().try_into()?,
    )?;
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(ZOPFLI))
        .last_modified_time(time);
    for file in files {
        writer.start_file(file.path.as_str(), options.unix_permissions(file.mode))?;
        writer.write_all(&file.content)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_a_release_are_written_as_in_python() {
        assert_eq!(python_version("1.2.3"), "1.2.3");
        assert_eq!(python_version("1.2.3-rc.1"), "1.2.3rc1");
    }

    #[test]
    fn the_record_lists_every_file_and_itself() {
        let record = record(&[File::data("a", "")], "RECORD".to_owned());
        let text = String::from_utf8(record.content).unwrap();
        assert_eq!(text, "a,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\nRECORD,,\n");
    }
}
