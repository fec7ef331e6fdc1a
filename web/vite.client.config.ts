import { writeFileSync } from "node:fs";
import { defineConfig } from "vite";

const outDir = "../meeshy_sfu/web/client";

/** The library alone, as one ES module without React: meeshy-client.js and its types. */
export default defineConfig({
  publicDir: false,
  build: {
    outDir,
    emptyOutDir: true,
    target: "es2022",
    lib: { entry: "src/client.ts", formats: ["es"], fileName: () => "meeshy-client.js" },
  },
  plugins: [
    {
      name: "types",
      closeBundle() {
        writeFileSync(`${outDir}/meeshy-client.d.ts`, 'export * from "./types/client";\n');
      },
    },
  ],
});
