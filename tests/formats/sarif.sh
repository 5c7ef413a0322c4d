# Sourced by the scripts beside it: Microsoft's validator of SARIF, a program that needs nothing installed.

SARIF_PACKAGE=@microsoft/sarif-multitool-linux
SARIF_VERSION=5.7.0

sarif_validator() { # TOOLS
    echo "$1/sarif-$SARIF_VERSION/node_modules/$SARIF_PACKAGE/Sarif.Multitool"
}
