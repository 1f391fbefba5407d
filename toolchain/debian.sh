#!/usr/bin/env bash
# Makes the smallest Debian as a Docker image, where no registry has one. Run as root; needs mmdebstrap.
#   debian.sh IMAGE
set -euo pipefail
# What this machine trusts, the image trusts: a package registry may stand behind a proxy with a certificate of its own.
mmdebstrap --mode=root --variant=minbase --format=tar --include=ca-certificates \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
  --customize-hook='cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"' \
  bookworm - | docker import - "$1"
