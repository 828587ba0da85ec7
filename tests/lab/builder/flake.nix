# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The builder of the stand-in, with the interface of nixpkgs' `darwin.linux-builder` (and of the older
# `darwin.builder`), so that a flake reference to it can stand where a nixpkgs one would.
{
  description = "Linux builder VM for the Mac stand-in";

  outputs = _:
    let
      system = "x86_64-darwin";
      lib = import ./lib.nix;
      make = import ./builder.nix { inherit lib system; };
    in
    {
      inherit lib;
      legacyPackages.${system}.darwin = {
        linux-builder = make { modules = [ ]; };
        # Has the outer shape of nixpkgs' package for Virtualization.framework, and QEMU inside: see the lab's README.
        linux-builder-vz = import ./builder.nix { inherit lib system; vz = true; } { modules = [ ]; };
        builder = (import ./old-builder.nix { inherit lib system; });
      };
    };
}
