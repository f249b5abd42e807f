// Scoped class names come from the style itself, never from a path: the build is the same in every folder.

export default {
  compilerOptions: { cssHash: ({ hash, css }) => `s-${hash(css)}` },
};
