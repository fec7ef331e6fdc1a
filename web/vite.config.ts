import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  // A strict Content-Security-Policy allows no inline module, so the preload helper stays out as well.
  build: { outDir: "../meeshy_sfu/web", emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false } },
  test: {
    environment: "jsdom",
    include: ["test/**/*.test.{ts,tsx}"],
    coverage: {
      include: ["src/**"],
      exclude: ["src/main.tsx", "src/wire/gateway.ts", "src/wire/media_server.ts"],
      reporter: ["text"],
    },
  },
});
