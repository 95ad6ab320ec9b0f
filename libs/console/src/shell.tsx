import { type ReactNode, useEffect, useState } from 'react';
import { firstLanguage, type Language, LanguageContext, languages } from './i18n';

interface ShellProps {
  /** Between the title and the language. */
  navigation: ReactNode;
  /** Null while nobody is signed in. */
  signOut: (() => void) | null;
  children: ReactNode;
}

/** The frame of every page: title, navigation, language, and the way out. */
export function Shell({ navigation, signOut, children }: ShellProps) {
  const [language, setLanguage] = useState<Language>(firstLanguage);
  const words = languages[language];
  useEffect(() => {
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  }, [language]);
  return (
    <LanguageContext.Provider value={language}>
      <button type="button" className="skip" onClick={focusContent}>
        {words.skip}
      </button>
      <header>
        <h1>{words.title}</h1>
        {navigation}
        <label>
          <span className="quiet">{words.language}</span>{' '}
          <select value={language} onChange={(event) => setLanguage(event.target.value as Language)}>
            <option value="en">English</option>
            <option value="zh">中文</option>
          </select>
        </label>
        {signOut && (
          <button type="button" onClick={signOut}>
            {words.signOut}
          </button>
        )}
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </LanguageContext.Provider>
  );
}

/** A link would replace the hash, which names the page. */
function focusContent(): void {
  document.getElementById('content')?.focus();
}

interface LinksProps {
  label: string;
  links: ReadonlyArray<{ readonly page: string; readonly text: string }>;
  /** The first link is the page of an empty route. */
  current: string | undefined;
}

export function Links({ label, links, current }: LinksProps) {
  return (
    <nav aria-label={label}>
      {links.map(({ page, text }, index) => (
        <a
          key={page}
          href={`#/${page}`}
          aria-current={current === page || (!current && index === 0) ? 'page' : undefined}
        >
          {text}
        </a>
      ))}
    </nav>
  );
}
