# shellcheck shell=sh
# What this machine is, for the other scripts: `. scripts/machine.sh`. In POSIX sh, for Linux, WSL2 and macOS.

# In WSL2 the driver is Windows' own: it has no /dev/nvidiactl.
has_nvidia_driver() { [ -e /dev/nvidiactl ] || { [ -e /dev/dxg ] && [ -e /usr/lib/wsl/lib/libcuda.so.1 ]; }; }

# Prints a line with the reason and one with the remedy where torch has no builds, or nothing.
why_no_torch() {
    case "$(uname -s)" in
        Darwin)
            if [ "$(uname -m)" != arm64 ]; then
                echo "torch has no builds for Macs with Intel processors, nor under Rosetta"
                echo "use a terminal without Rosetta, run it in Docker (make up RUNTIME=docker), or rent a machine"
            elif [ "$(sw_vers -productVersion | cut -d . -f 1)" -lt 14 ]; then
                echo "macOS $(sw_vers -productVersion) is too old for torch, which needs macOS 14"
                echo "update macOS, run it in Docker (make up RUNTIME=docker), or rent a machine"
            fi ;;
        MINGW* | MSYS* | CYGWIN*)
            echo "this is Windows itself, which the kit does not know"
            echo "open WSL2 (wsl --install, then wsl) and run the same there" ;;
    esac
}
