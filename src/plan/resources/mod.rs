//! Builders of the objects that do not depend on the mesh, one kind a file. Pure.
